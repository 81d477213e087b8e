/**
 * A user who can read the log sends its own token, and one of another user that it was shown, in every part of a request,
 * to find there afterwards what is secret: of those, of credentials that were read, or of the keys.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { APP, CREDENTIALS_PATH, sendRaw, whileServed } from '../harness/attack.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

const USER = { uid: 61_114 }

test('the log names no secret, wherever it was sent', async () => {
  const { metadataSocket, directory, runtimeDirectory } = inject('target')
  const tokens = [await tokenAs(USER, metadataSocket), await tokenAs({ uid: APP }, metadataSocket)]
  const credentials = await readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH)
  const { AccessKeySecret, SecurityToken } = JSON.parse(credentials.body)
  const salt = await readFile(join(runtimeDirectory, 'salt'))
  const before = (await readFile(join(directory, 'agent.log'))).length
  await whileServed(metadataSocket, async () => {
    for (const { body } of tokens) {
      const NAME = 'X-aliyun-ecs-metadata-token'
      for (const request of [
        `GET ${CREDENTIALS_PATH} HTTP/1.1\r\n${NAME}: ${body}\r\n`,
        `GET ${CREDENTIALS_PATH} HTTP/1.1\r\n${NAME}: ${body}\r\n${NAME}: ${body}\r\n`,
        `GET /${body} HTTP/1.1\r\n${NAME}: ${body.slice(1)}\r\n`,
        `GET /latest/meta-data/?${NAME}=${body} HTTP/1.1\r\n`,
        `GET ${CREDENTIALS_PATH} HTTP/1.1\r\nAuthorization: Bearer ${body}\r\nCookie: ${body}\r\n`,
        `PUT /latest/api/token HTTP/1.1\r\n${NAME}-ttl-seconds: ${body}\r\n`,
        `GET / HTTP/1.1\r\nX-Forwarded-For: ${body}\r\n`,
        `GET / HTTP/1.1\r\n${body} : x\r\n`,
      ]) {
        await sendRaw(metadataSocket, `${request}Host: ${body}\r\nConnection: close\r\n\r\n`, USER)
      }
    }
  })
  const log = (await readFile(join(directory, 'agent.log'), 'utf8')).slice(before)
  expect(log).toContain(`"uid":${USER.uid}`)
  const macs = tokens.map(({ body }) => body.slice(-43))
  const keys = ['hex', 'base64', 'base64url'].map((form) => salt.toString(form as BufferEncoding))
  for (const secret of [...macs, AccessKeySecret, SecurityToken, ...keys]) {
    expect(secret).toMatch(/.{16}/)
    expect(log).not.toContain(secret)
  }
})
