import { z } from 'zod'

/** The rules of `metabind lockdown`, as text for nft(8), and what `nft -j` says of them. */

/** Family and name of the one table that is ours. Nothing outside it is read or written. */
export const LOCKDOWN_TABLE = 'ip metabind_lockdown'

/** The mark of packets from containers that are for the agent: "mbnd". */
export const CONTAINERS_MARK = '0x6d626e64'

/** What lockdown is to do. */
export interface Lockdown {
  /** `enforce`: redirected callers are answered by the agent; `observe`: they are only counted. */
  readonly mode: 'enforce' | 'observe'
  /** The metadata service, IPv4. */
  readonly address: string
  readonly port: number
  /** The user of the agent: the only one that reaches the address. */
  readonly agentUid: number
  /** The agent's loopback listener for this mode. */
  readonly listenerPort: number
  /** The one for observing, even if this is not that mode: what it translated before is cut. */
  readonly observePort: number
  /**
   * What becomes of what containers and pods with networks of their own send: refused, left alone, or
   * sent to the agent too. While observing, nothing is refused.
   */
  readonly containers: 'refuse' | 'leave' | 'redirect'
  /** After this many seconds the kernel itself stops applying the rules. */
  readonly forSeconds?: number | undefined
}

/**
 * The whole table, replacing the one before in the same transaction: at no moment is there none.
 *
 * All rules match on the set `guarded`. Its element can have a timeout, which the kernel keeps: the
 * way back needs no process that might have died, no timer unit and no working agent.
 */
export function lockdownRules(lockdown: Lockdown): string {
  const { address, forSeconds } = lockdown
  const timeout = forSeconds === undefined ? '' : ` timeout ${forSeconds}s`
  const ofMode =
    lockdown.mode === 'observe'
      ? [observedContainersChains]
      : [containersChain, refusedChain, guardChain, forwardChain]
  const chains = [redirectChain, listenerChain, ...ofMode].map((chain) => chain(lockdown))
  return `${removalRules()}
table ${LOCKDOWN_TABLE} {
\tset guarded {
\t\ttype ipv4_addr
\t\tflags timeout
\t\telements = { ${address}${timeout} }
\t}
${chains.join('')}}
`
}

/** Removes the table, whether it is there or not. */
export function removalRules(): string {
  return `add table ${LOCKDOWN_TABLE}\ndelete table ${LOCKDOWN_TABLE}\n`
}

/** Takes the timeout away. nft refuses it if the time is over, so that nothing is half there. */
export function confirmationRules(address: string): string {
  const element = `element ${LOCKDOWN_TABLE} guarded { ${address} }`
  return `delete ${element}\nadd ${element}\n`
}

/**
 * What begins a connection. The kernel may meet a connection that was open before its tracking began in
 * the middle, and would translate it there: while observing, nobody's may break.
 */
const BEGINS = 'tcp flags & (syn | ack) == syn'

/** Hook priority -100 is where destination NAT is done; nft has no name for it in this hook. */
function redirectChain({ mode, port, agentUid, listenerPort }: Lockdown): string {
  const begins = mode === 'observe' ? ` ${BEGINS}` : ''
  return `\tchain redirected {
\t\ttype nat hook output priority -100; policy accept;
\t\tip daddr @guarded tcp dport ${port}${begins} meta skuid != ${agentUid} counter redirect to :${listenerPort}
\t}
`
}

/**
 * Nobody but root connects to the listener otherwise than redirected. Somebody who did, from a port
 * of their choice, would make the kernel give the next redirected connection from that port another
 * one, and the agent would look for the owner of that other one.
 *
 * And nobody but the agent answers there. Its port is open to all users: whoever took it while the
 * agent is stopped would be the metadata service for the whole host, root included. The second
 * packet of a connection is refused to them, so that none is ever made.
 */
function listenerChain({ listenerPort, agentUid }: Lockdown): string {
  const answer = `ip saddr 127.0.0.0/8 tcp sport ${listenerPort} tcp flags & (syn | ack) == syn | ack`
  return `\tchain listener {
\t\ttype filter hook output priority 0; policy accept;
\t\tip daddr 127.0.0.0/8 tcp dport ${listenerPort} ct status & dnat != dnat meta skuid != 0 reject with tcp reset
\t\t${answer} meta skuid ${agentUid} accept
\t\t${answer} reject with tcp reset
\t}
`
}

/** With an answer, never dropped: a client must not wait for its timeout. */
function refusedChain(): string {
  return `\tchain refused {
\t\tmeta l4proto tcp counter reject with tcp reset
\t\tcounter reject
\t}
`
}

/**
 * What the redirection does not take: other ports and protocols, and connections that were open
 * before. Those that observing redirected too: the agent would go on to pass on what they ask.
 *
 * `meta skuid` matches no packet without an owner, neither by = nor by !=. The kernel's own sockets
 * have none (tunnels, network file systems, SMC while it connects), and are refused. So have the
 * last packets of connections that their owner has closed, the agent too: those pass, as nobody is
 * left to read an answer.
 */
function guardChain({ agentUid, observePort }: Lockdown): string {
  return `\tchain guard {
\t\ttype filter hook output priority 0; policy accept;
\t\tip daddr 127.0.0.0/8 tcp dport ${observePort} ct original ip daddr @guarded goto refused
\t\tip daddr @guarded meta skuid ${agentUid} accept
\t\tip daddr @guarded meta skuid != ${agentUid} goto refused
\t\tip daddr @guarded ct state != { established, related } goto refused
\t}
\tchain observed {
\t\ttype filter hook input priority 0; policy accept;
\t\tip daddr @guarded tcp dport ${observePort} goto refused
\t}
`
}

/**
 * Has the host take for its own what containers send to the service: a rule of its routing sees the
 * mark, and a socket that systemd holds has the address. Translating to a loopback address would need
 * route_localnet, which opens every loopback service of the host to containers; nft's tproxy is undone
 * if bridges call iptables (br_netfilter), as Docker and Kubernetes want it.
 *
 * Before destination NAT, and before the decision where to. If there is no such socket the packet
 * goes on as one to forward, and is refused there: the host itself would be silent, as the address is
 * none of its own. So is what belongs to a connection that observing has translated.
 */
function containersChain({ containers, port }: Lockdown): string {
  if (containers !== 'redirect') return ''
  const sent = `ip daddr @guarded tcp dport ${port} ${INSIDE}`
  return `\tchain containers {
\t\ttype filter hook prerouting priority -149; policy accept;
\t\t${sent} ${BEGINS} counter
\t\t${sent} ct status & dnat != dnat socket transparent 1 meta mark set ${CONTAINERS_MARK}
\t}
`
}

/** While observing, to another port of the same address, where another listener is. */
function observedContainersChains({ containers, address, port, listenerPort }: Lockdown): string {
  if (containers !== 'redirect') return ''
  const translated = `ip daddr @guarded tcp dport ${listenerPort} ct status & dnat == dnat`
  return `\tchain containers {
\t\ttype nat hook prerouting priority -100; policy accept;
\t\tip daddr @guarded tcp dport ${port} ${INSIDE} ${BEGINS} counter dnat to ${address}:${listenerPort}
\t}
\tchain marked {
\t\ttype filter hook prerouting priority -99; policy accept;
\t\t${translated} socket transparent 1 meta mark set ${CONTAINERS_MARK}
\t}
\tchain forwarded {
\t\ttype filter hook forward priority 0; policy accept;
\t\t${translated} reject with tcp reset
\t}
`
}

/**
 * What arrives by another interface than the one that the service is reached by: a machine of the
 * network, which may send this host what it likes, is no container.
 */
const INSIDE = 'iifname != "lo" fib daddr . iif oif missing'

/**
 * What is not taken for the host's own: everything of containers, unless it is redirected, and then
 * other ports and protocols.
 */
function forwardChain({ containers }: Lockdown): string {
  if (containers === 'leave') return ''
  return `\tchain forwarded {
\t\ttype filter hook forward priority 0; policy accept;
\t\tip daddr @guarded goto refused
\t}
`
}

/** What is in force, as `nft -j list table` tells it. */
export interface LockdownState {
  readonly state: 'enforce' | 'observe' | 'rolled-back'
  readonly address: string | undefined
  /** The user that the rules let through. */
  readonly agentUid: number | undefined
  /** Seconds until the kernel rolls back; undefined if that is never. */
  readonly secondsLeft: number | undefined
  /** Whether what containers send is for the agent. */
  readonly takesContainers: boolean
  /** Connections sent to the agent since the rules were made, those of containers too. */
  readonly redirected: number
  /** Packets refused since then. */
  readonly refused: number
}

const element = z.union([
  z.string(),
  z.object({ elem: z.object({ val: z.string(), expires: z.number().optional() }) }),
])
const expression = z.object({
  counter: z.object({ packets: z.number() }).optional(),
  match: z.object({ left: z.unknown(), right: z.unknown() }).partial().optional(),
})
const ownerMatch = z.object({ meta: z.object({ key: z.literal('skuid') }) })
const listing = z.object({
  nftables: z.array(
    z.object({
      chain: z.object({ name: z.string() }).optional(),
      set: z.object({ name: z.string(), elem: z.array(element).optional() }).optional(),
      rule: z.object({ chain: z.string(), expr: z.array(expression) }).optional(),
    }),
  ),
})

/** Reads the JSON of `nft -j list table`. @throws SyntaxError or ZodError if it is none of ours */
export function readLockdown(json: string): LockdownState {
  const items = listing.parse(JSON.parse(json)).nftables
  const guarded = items.find(({ set }) => set?.name === 'guarded')?.set?.elem?.[0]
  const isGuarded = items.some(({ chain }) => chain?.name === 'guard')
  const expressionsOf = (chain: string) =>
    items.filter(({ rule }) => rule?.chain === chain).flatMap(({ rule }) => rule?.expr ?? [])
  const packets = (chain: string): number =>
    expressionsOf(chain).reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0)
  const owner = expressionsOf('redirected').find(
    ({ match }) => ownerMatch.safeParse(match?.left).success,
  )
  return {
    state: guarded === undefined ? 'rolled-back' : isGuarded ? 'enforce' : 'observe',
    address: typeof guarded === 'string' ? guarded : guarded?.elem.val,
    agentUid: typeof owner?.match?.right === 'number' ? owner.match.right : undefined,
    secondsLeft: typeof guarded === 'string' ? undefined : guarded?.elem.expires,
    takesContainers: items.some(({ chain }) => chain?.name === 'containers'),
    redirected: packets('redirected') + packets('containers'),
    refused: packets('refused'),
  }
}
