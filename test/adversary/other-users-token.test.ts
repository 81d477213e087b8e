/**
 * A user comes by the token of an application, out of a log or a backup, and shows it for the application's
 * credentials: alone, beside one of its own, and with the names of others in further headers.
 */
import { expect, inject, test } from 'vitest'
import { APP, ATTACKER, CREDENTIALS_PATH, whileServed } from '../harness/attack.ts'
import { type Asked, askAs, readAs, tokenAs } from '../harness/unix-http.ts'

const NAME = 'x-aliyun-ecs-metadata-token'

test('a stolen token is worth nothing to another user', async () => {
  const { metadataSocket } = inject('target')
  const { body: stolen } = await tokenAs({ uid: APP }, metadataSocket)
  const { body: own } = await tokenAs({ uid: ATTACKER }, metadataSocket)
  const tries: Record<string, string>[] = [
    { [NAME]: stolen },
    { [NAME]: stolen, Cookie: `token=${own}`, Authorization: `Bearer ${own}` },
    { [NAME]: `${own}, ${stolen}` },
    { [NAME]: own, 'X-Metadata-Token': stolen, 'X-Remote-User': String(APP) },
  ]
  const asked = tries.map((headers): Asked => ['GET', CREDENTIALS_PATH, headers])
  const answers = await whileServed(metadataSocket, () =>
    askAs({ uid: ATTACKER }, metadataSocket, asked),
  )
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 403])
  expect(JSON.stringify(answers)).not.toContain('AccessKey')
  expect((await readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, stolen)).status).toBe(200)
})
