/**
 * A thief takes all that an application has to another instance of its own: its session token, its access token, which is
 * bound to the instance's key, the proofs that it has used, and the disk with the agent's files. There it asks the agent
 * for a proof, and shows the service what it has.
 */
import { cp } from 'node:fs/promises'
import { calculateJwkThumbprint, decodeProtectedHeader } from 'jose'
import { expect, test } from 'vitest'
import { APP, APP_POLICY, anew, ownAgent, whileServed } from '../harness/attack.ts'
import { proofService } from '../harness/proof-service.ts'
import { postAs, tokenAs } from '../harness/unix-http.ts'

const POLICY = `${APP_POLICY}
[[rule]]
effect = "allow"
users = [${APP}]
proofs = ["https://api.example/**"]
`
const BODY = JSON.stringify({ kind: 'dpop', method: 'GET', url: 'https://api.example/orders' })

test('the service takes none of it, and the application goes on', async (context) => {
  const service = await proofService()
  const robbed = (await ownAgent(context, { policy: POLICY })).instance
  const { body: session } = await tokenAs({ uid: APP }, robbed.metadataSocket)
  const proven = async (socket: string, token: string, ath = '') => {
    const asked = ath === '' ? BODY : JSON.stringify({ ...JSON.parse(BODY), access_token: ath })
    return postAs({ uid: APP }, socket, '/metabind/v1/proof', token, asked)
  }
  const { jwk } = decodeProtectedHeader((await proven(robbed.metadataSocket, session)).body)
  const token = await service.tokenFor(await calculateJwkThumbprint(jwk ?? {}))
  const { body: used } = await proven(robbed.metadataSocket, session, token)
  expect(await service.ask({ token, proof: used })).toBe('accepted')

  const thief = await ownAgent(context, { policy: POLICY })
  const { metadataSocket, stateDirectory } = thief.instance
  const isData = (name: string) => !/lock$|\.sock$/.test(name)
  await cp(robbed.stateDirectory, stateDirectory, { recursive: true, filter: isData })
  await (await anew(thief)).ready()
  await whileServed(metadataSocket, async () => {
    expect(await proven(metadataSocket, session, token)).toMatchObject({ status: 401 })
    const own = await tokenAs({ uid: APP }, metadataSocket)
    const { status, body: proof } = await proven(metadataSocket, own.body, token)
    expect(status).toBe(200)
    expect(await service.ask({ token, proof })).toMatch(/confirmation mismatch/)
    expect(await service.ask({ token, proof: used })).toBe('used before')
  })
  const { body: next } = await proven(robbed.metadataSocket, session, token)
  expect(await service.ask({ token, proof: next })).toBe('accepted')
})
