import { ask, startAgent, TOKEN_HEADER } from './agent.ts'
import { compare, type Row } from './compare.ts'
import { bareNode, goIsHere, nginx, type Server } from './servers.ts'

const PATH = '/latest/meta-data/instance-id'

/** What does a read cost whose answer is in memory: token, policy and audit included? */
export async function cachedRead(directory: string): Promise<Row[]> {
  const agent = await startAgent(
    directory,
    '[limits]\nmiss_burst = 1000000\nmisses_per_second = 1000000\n',
  )
  const headers = { [TOKEN_HEADER]: await agent.token() }
  const body = Buffer.from(await ask(agent.socket, 'GET', PATH, headers))
  const ngx = await nginx(directory, body)
  // The bare one first: what the others cost is told in its terms.
  const all: (Server | undefined)[] = [await bareNode(directory, body), agent, ngx]
  const servers = all.filter((server) => server !== undefined)
  try {
    const rows = await compare(
      'cached read',
      directory,
      servers.map((server) => ({ server, ask: { path: PATH, headers } })),
    )
    const missing = ngx === undefined ? [absent('nginx')] : []
    return [...rows, ...missing, ...(goIsHere() ? [] : [absent('Go net/http')])]
  } finally {
    for (const server of servers) await server.stop()
  }
}

function absent(subject: string): Row {
  return { question: 'cached read', subject, values: { answers: 'not on this machine' } }
}
