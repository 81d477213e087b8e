import { z } from 'zod'

/** The rules of `metabind lockdown`, as text for `nft -f -`, and what `nft -j` says of them. */

/** Family and name of the one table that is ours. Nothing outside it is read or written. */
export const LOCKDOWN_TABLE = 'ip metabind_lockdown'

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
  /** Whether containers and pods, whose packets are forwarded, are refused or left alone. */
  readonly containers: 'refuse' | 'leave'
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
  const chains =
    lockdown.mode === 'observe'
      ? [redirectChain(lockdown), listenerChain(lockdown)]
      : [redirectChain, listenerChain, guardChain, forwardChain].map((chain) => chain(lockdown))
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

/** Takes the timeout away. nft refuses it where the time is over, so that nothing is half there. */
export function confirmationRules(address: string): string {
  const element = `element ${LOCKDOWN_TABLE} guarded { ${address} }`
  return `delete ${element}\nadd ${element}\n`
}

/** Hook priority -100 is where destination NAT is done; nft has no name for it in this hook. */
function redirectChain({ port, agentUid, listenerPort }: Lockdown): string {
  return `\tchain redirected {
\t\ttype nat hook output priority -100; policy accept;
\t\tip daddr @guarded tcp dport ${port} meta skuid != ${agentUid} counter redirect to :${listenerPort}
\t}
`
}

/**
 * Nobody but root connects to the listener otherwise than redirected. Somebody who did, from a port
 * of his choice, would make the kernel give the next redirected connection from that port another
 * one, and the agent would look for the owner of that other one.
 */
function listenerChain({ listenerPort }: Lockdown): string {
  return `\tchain listener {
\t\ttype filter hook output priority 0; policy accept;
\t\tip daddr 127.0.0.0/8 tcp dport ${listenerPort} ct status & dnat != dnat meta skuid != 0 reject with tcp reset
\t}
`
}

/**
 * What the redirection does not take: other ports and protocols, and connections that were open
 * before. Refused with an answer, never dropped: a client must not wait for its timeout.
 */
function guardChain({ agentUid }: Lockdown): string {
  return `\tchain guard {
\t\ttype filter hook output priority 0; policy accept;
\t\tip daddr @guarded meta skuid != ${agentUid} meta l4proto tcp counter reject with tcp reset
\t\tip daddr @guarded meta skuid != ${agentUid} counter reject
\t}
`
}

/**
 * Packets of containers with a network of their own have no local socket, so nobody could be named
 * for them; redirected they would only be refused by the agent, and reaching its loopback address
 * would need route_localnet, which opens every loopback service of the host to them.
 */
function forwardChain({ containers }: Lockdown): string {
  if (containers === 'leave') return ''
  return `\tchain forwarded {
\t\ttype filter hook forward priority 0; policy accept;
\t\tip daddr @guarded meta l4proto tcp counter reject with tcp reset
\t\tip daddr @guarded counter reject
\t}
`
}

/** What is in force, as `nft -j list table` tells it. */
export interface LockdownState {
  readonly state: 'enforce' | 'observe' | 'rolled-back'
  readonly address: string | undefined
  /** Seconds until the kernel rolls back; undefined where that is never. */
  readonly secondsLeft: number | undefined
  /** Connections sent to the agent since the rules were made. */
  readonly redirected: number
  /** Packets refused since then. */
  readonly refused: number
}

const element = z.union([
  z.string(),
  z.object({ elem: z.object({ val: z.string(), expires: z.number().optional() }) }),
])
const listing = z.object({
  nftables: z.array(
    z.object({
      chain: z.object({ name: z.string() }).optional(),
      set: z.object({ name: z.string(), elem: z.array(element).optional() }).optional(),
      rule: z
        .object({
          chain: z.string(),
          expr: z.array(z.object({ counter: z.object({ packets: z.number() }).optional() })),
        })
        .optional(),
    }),
  ),
})

/** Reads the JSON of `nft -j list table`. @throws SyntaxError or ZodError where it is none of ours */
export function readLockdown(json: string): LockdownState {
  const items = listing.parse(JSON.parse(json)).nftables
  const guarded = items.find(({ set }) => set?.name === 'guarded')?.set?.elem?.[0]
  const isGuarded = items.some(({ chain }) => chain?.name === 'guard')
  const packets = (chains: readonly string[]): number =>
    items
      .filter(({ rule }) => rule !== undefined && chains.includes(rule.chain))
      .flatMap(({ rule }) => rule?.expr ?? [])
      .reduce((sum, { counter }) => sum + (counter?.packets ?? 0), 0)
  return {
    state: guarded === undefined ? 'rolled-back' : isGuarded ? 'enforce' : 'observe',
    address: typeof guarded === 'string' ? guarded : guarded?.elem.val,
    secondsLeft: typeof guarded === 'string' ? undefined : guarded?.elem.expires,
    redirected: packets(['redirected']),
    refused: packets(['guard', 'forwarded']),
  }
}
