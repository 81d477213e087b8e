import {
  ask,
  type BenchAgent,
  NO_LIMITS,
  startAgent,
  TOKEN_HEADER,
  TTL_HEADER,
  upstreamToken,
} from './agent.ts'
import { type Contestant, compare, type Row } from './compare.ts'
import { bareNode, bareRelay, fastifyServer, goServer, nginx, type Server } from './servers.ts'

/** What a request costs, of each kind, against servers that do less. */
export const REQUESTS = ['cached-read', 'minting', 'refused', 'miss', 'identity'] as const
export type Request = (typeof REQUESTS)[number]

const PATH = '/latest/meta-data/instance-id'
const TOKEN_PATH = '/latest/api/token'
const TTL = { [TTL_HEADER]: '60' }
// So many that no cache keeps them, by one connection: h2load takes them in the same order on each,
// and concurrent reads of one path would share one miss.
const MISSES = Array.from({ length: 100_000 }, (_, at) => `/latest/meta-data/absent-${at}`)

// Each refusal is recorded: beyond two hundred of a user at once, and two thousand of all, they are only counted, or
// made to wait. So ten users are refused, as often as is recorded of them again at the next round.
const REFUSED = {
  among: 'refused',
  connections: 1,
  requests: 150,
  uids: Array.from({ length: 10 }, (_, at) => 61_100 + at),
}

type Asked = Contestant['ask']

/** How many connections at once; a new one for each request. */
type Way = Pick<Contestant, 'connections' | 'isNewEach'>
const WAYS: readonly Way[] = [
  { connections: 1 },
  { connections: 16 },
  { connections: 64 },
  { connections: 16, isNewEach: true },
]

/** All servers and all kinds of requests, in turn, round after round. */
export async function requests(directory: string, kinds: readonly Request[]): Promise<Row[]> {
  const agent = await startAgent(directory, NO_LIMITS)
  const headers = { [TOKEN_HEADER]: await agent.token() }
  const body = Buffer.from(await ask(agent.socket, 'GET', PATH, headers))
  const node = await bareNode(directory, body)
  const relay = await bareRelay(directory, agent.upstream, await upstreamToken(agent.upstream))
  const go = await goServer(directory, body)
  const others = [await fastifyServer(directory, body), await nginx(directory, body)]
  const constant = [node, ...others].filter((server) => server !== undefined)
  try {
    const own = ownRequests(agent, headers)
    const contestants: Contestant[] = [
      // What they answer does not depend on the question. The first is what the others are told in.
      ...inEachWay(constant, 'constant', { path: PATH }),
      ...(kinds.includes('refused') ? [refusedBy(node, 'constant')] : []),
      ...(kinds.includes('miss')
        ? [
            {
              server: relay,
              question: 'miss',
              among: 'misses',
              connections: 1,
              ask: { paths: MISSES },
            },
          ]
        : []),
      ...(go === undefined ? [] : await goRequests(go, kinds)),
      ...kinds.flatMap((kind) => own[kind]),
    ]
    // Those that are asked in the same way stand together, so that what disturbs one disturbs the other.
    const rows = await compare(
      directory,
      WAYS.flatMap((way) => contestants.filter((one) => isOfWay(one, way))),
    )
    return [...rows, ...absent('Go net/http', go), ...absent('nginx', others.at(-1))]
  } finally {
    for (const server of [...constant, relay, ...(go === undefined ? [] : [go]), agent])
      await server.stop()
  }
}

function isOfWay(one: Contestant, way: Way): boolean {
  return one.connections === way.connections && one.isNewEach === way.isNewEach
}

function inEachWay(servers: readonly Server[], question: string, asked: Asked): Contestant[] {
  return WAYS.flatMap((way) => servers.map((server) => ({ server, question, ask: asked, ...way })))
}

function ownRequests(
  agent: BenchAgent,
  headers: Record<string, string>,
): Readonly<Record<Request, Contestant[]>> {
  const each = (question: Request, asked: Asked) => inEachWay([agent], question, asked)
  return {
    'cached-read': each('cached-read', { path: PATH, headers }),
    minting: each('minting', { path: TOKEN_PATH, method: 'PUT', headers: TTL }),
    refused: [refusedBy(agent, 'refused')],
    miss: [
      {
        server: agent,
        question: 'miss',
        among: 'misses',
        connections: 1,
        ask: { paths: MISSES, headers },
      },
    ],
    // The TPM signs each.
    identity: each('identity', { path: '/metabind/v1/identity?audience=bench', headers }),
  }
}

async function goRequests(go: Server, kinds: readonly Request[]): Promise<Contestant[]> {
  const token = await ask(go.socket, 'PUT', TOKEN_PATH, { [TTL_HEADER]: '21600' })
  const asked: Readonly<Partial<Record<Request, Asked>>> = {
    'cached-read': { path: PATH, headers: { [TOKEN_HEADER]: token } },
    minting: { path: TOKEN_PATH, method: 'PUT', headers: TTL },
  }
  return kinds.flatMap((kind) => {
    if (kind === 'refused') return [refusedBy(go, 'refused')]
    const one = asked[kind]
    return one === undefined ? [] : inEachWay([go], kind, one)
  })
}

function refusedBy(server: Server, question: string): Contestant {
  return { server, question, ask: { path: PATH }, ...REFUSED }
}

function absent(subject: string, server: Server | undefined): Row[] {
  return server === undefined
    ? [{ question: 'all', subject, values: { answers: 'not on this machine' } }]
    : []
}
