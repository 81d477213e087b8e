import { NO_LIMITS, startAgent, TOKEN_HEADER, upstreamToken } from './agent.ts'
import { compare, type Row } from './compare.ts'
import { bareRelay } from './servers.ts'

// So many that no cache keeps them, by one connection: h2load takes them in the same order on each,
// and concurrent reads of one path would share one miss.
const PATHS = Array.from({ length: 100_000 }, (_, at) => `/latest/meta-data/absent-${at}`)

/** What does a read cost that has to ask the cloud, against a relay that does nothing else? */
export async function miss(directory: string): Promise<Row[]> {
  const agent = await startAgent(directory, NO_LIMITS)
  const relay = await bareRelay(directory, agent.upstream, await upstreamToken(agent.upstream))
  const headers = { [TOKEN_HEADER]: await agent.token() }
  try {
    return await compare('miss', directory, [
      { server: relay, connections: 1, ask: { paths: PATHS } },
      { server: agent, connections: 1, ask: { paths: PATHS, headers } },
    ])
  } finally {
    await relay.stop()
    await agent.stop()
  }
}
