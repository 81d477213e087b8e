import { NO_LIMITS, startAgent, TOKEN_HEADER } from './agent.ts'
import { compare, type Row } from './compare.ts'

/** What does making a token cost, against a read of one that does nothing but check its token? */
export async function minting(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory, NO_LIMITS)
  const reading = { [TOKEN_HEADER]: await agent.token() }
  const making = { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' }
  try {
    return await compare('minting', directory, [
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
    await agent.stop()
  }
}
