import { NO_LIMITS, startAgent, TOKEN_HEADER, upstreamToken } from './agent.ts'
import { compare, type Row } from './compare.ts'
import { bareRelay } from './servers.ts'

// So many that no cache keeps them: every read is a miss.
const PATHS = Array.from({ length: 100_000 }, (_, at) => `/latest/meta-data/absent-${at}`)

/** What does a read cost that has to ask the cloud, against a relay that does nothing else? */
export async function miss(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory, NO_LIMITS)
  const relay = await bareRelay(directory, agent.upstream, await upstreamToken(agent.upstream))
  const headers = { [TOKEN_HEADER]: await agent.token() }
  try {
    return await compare('miss', directory, [
      { server: relay, ask: { paths: PATHS } },
      { server: agent, ask: { paths: PATHS, headers } },
    ])
  } finally {
    await relay.stop()
    await agent.stop()
  }
}
