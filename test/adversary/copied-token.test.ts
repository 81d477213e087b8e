/**
 * A thief copies an application's token file from one instance to another of its own, where it has the same user, and
 * shows the token to the agent there.
 */
import { expect, test } from 'vitest'
import { APP, CREDENTIALS_PATH, ownAgent, whileServed } from '../harness/attack.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

test('the token of one instance is refused on another, and leaves a record there', async (context) => {
  const robbed = await ownAgent(context)
  const { body: token } = await tokenAs({ uid: APP }, robbed.instance.metadataSocket)
  const { metadataSocket, agent } = (await ownAgent(context)).instance
  const { status, body } = await whileServed(metadataSocket, () =>
    readAs({ uid: APP }, metadataSocket, CREDENTIALS_PATH, token),
  )
  expect([status, body]).toEqual([401, 'TOKEN_INVALID: The session token is not valid.'])
  const record = await agent.until(({ event }) => event === 'token.foreign')
  expect(record).toMatchObject({ audit: true, caller: { uid: APP } })
})
