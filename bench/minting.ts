import { NO_LIMITS, startAgent, TOKEN_HEADER } from './agent.ts'
import { compare, type Row } from './compare.ts'
import { bareNode } from './servers.ts'

/** What do making a token, a read that does nothing but check one, and a refusal cost? */
export async function minting(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory, NO_LIMITS)
  const reading = { [TOKEN_HEADER]: await agent.token() }
  const making = { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' }
  const bare = await bareNode(directory, Buffer.from(await agent.token()))
  try {
    return await compare('minting', directory, [
      { server: bare, ask: { path: '/' } },
      {
        server: agent,
        name: 'read whoami',
        ask: { path: '/metabind/v1/whoami', headers: reading },
      },
      {
        server: agent,
        name: 'make a token',
        ask: { path: '/latest/api/token', method: 'PUT', headers: making },
      },
    ])
  } finally {
    await bare.stop()
    await agent.stop()
  }
}
