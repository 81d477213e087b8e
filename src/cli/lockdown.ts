import { MetabindError, UsageError } from '../errors.ts'
import { applyRules, lockdownState } from '../lockdown/nft.ts'
import { planLockdown, requireListeners, requirePlaces } from '../lockdown/plan.ts'
import { leaveMarked, takeMarked, takesMarked } from '../lockdown/policy-route.ts'
import { confirmationRules, type Lockdown, lockdownRules, removalRules } from '../lockdown/rules.ts'
import { preview } from './lockdown-preview.ts'
import { tellAgent } from './lockdown-told.ts'
import { actionOf, parseVerb, SOCKET_HELP, SOCKET_OPTIONS, socketsOf } from './options.ts'
import { print, printAnswer } from './output.ts'
import { asRows } from './table.ts'
import type { Verb } from './verb.ts'

/** Those of `lockdown on` alone. */
const ON_OPTIONS = {
  observe: { type: 'boolean' },
  for: { type: 'string' },
  user: { type: 'string' },
  containers: { type: 'string' },
  config: { type: 'string', multiple: true },
  preview: { type: 'boolean' },
  rules: { type: 'boolean' },
  'before-agent': { type: 'boolean' },
} as const
const OPTIONS = { ...SOCKET_OPTIONS, ...ON_OPTIONS, json: { type: 'boolean' } } as const

type Flags = ReturnType<typeof parseVerb<typeof OPTIONS>>['values']

export const lockdown: Verb = {
  summary: 'let only the agent reach the metadata service',
  help: `Usage: metabind lockdown on [OPTIONS]
       metabind lockdown confirm | off | status [--json]

Guards the address of the metadata service with a firewall table of its own:
only the agent reaches it, and what other local processes send there goes to the
agent, which asks the kernel who they are. Needs root, nft, and
transparent.enabled = true in the agent's configuration.

  on                   make the table, or replace it, at once and whole
  confirm              keep what --for would roll back
  off                  remove the table
  status               say what is in force; exits with 0 only where it is

With on:
  --observe            refuse nothing: count who reads directly, see metabind
                       observe
  --for DURATION       the kernel itself rolls back after it (30s, 10m, 2h)
                       unless confirmed
  --containers refuse|leave|redirect
                       refuse (default), leave, or redirect to the agent what
                       containers and pods with networks of their own send to
                       the address
  --user USER          whom the agent runs as (default metabind)
  --config FILE        the agent's configuration
  --preview            change nothing: list who talks to the address now, and
                       what would become of each under the policy in force
  --rules              change nothing, and ask nobody: print the rules
  --before-agent       do not ask whether the agent listens yet; for the unit at
                       boot

  --json               print the answer as JSON
${SOCKET_HELP}`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, OPTIONS, 1)
    const action = actionOf('lockdown', ['on', 'confirm', 'off', 'status'], positionals[0])
    const stray = Object.keys(values).find((name) => Object.hasOwn(ON_OPTIONS, name))
    if (action !== 'on' && stray !== undefined) {
      throw new UsageError(`--${stray} belongs to 'lockdown on', not to 'lockdown ${action}'`)
    }
    return ACTIONS[action](values)
  },
}

const ACTIONS = {
  on: turnOn,
  confirm: async (flags: Flags) => {
    const state = lockdownState()
    if (state?.address === undefined) throw new MetabindError('LOCKDOWN_UNCONFIRMED')
    applyRules(confirmationRules(state.address))
    await tellAgent(socketsOf(flags), { change: 'confirm' })
    if (flags.json) printAnswer('lockdown-change', { change: 'confirm' })
    return 0
  },
  off: async (flags: Flags) => {
    const wasOn = lockdownState() !== undefined
    applyRules(removalRules())
    leaveMarked()
    mendRoute()
    if (wasOn) await tellAgent(socketsOf(flags), { change: 'off' })
    if (flags.json) printAnswer('lockdown-change', { change: 'off' })
    return 0
  },
  status: async (flags: Flags) => {
    const state = lockdownState()
    const said = state ?? { state: 'off' as const }
    if (flags.json) printAnswer('lockdown-status', said)
    else print(inWords(state))
    return said.state === 'off' || said.state === 'rolled-back' ? 1 : 0
  },
}

async function turnOn(flags: Flags): Promise<number> {
  if (flags.rules && flags.preview) throw new UsageError('--rules and --preview exclude each other')
  const plan = planLockdown(flags)
  if (flags.rules) {
    const rules = lockdownRules(plan)
    if (flags.json) printAnswer('lockdown-rules', { rules })
    else print(rules)
  } else if (flags.preview) {
    await preview(plan, socketsOf(flags), flags.json === true)
  } else {
    await requirePlaces(plan)
    if (!flags['before-agent']) requireListeners(plan)
    makeRules(plan)
    const { mode, containers, forSeconds } = plan
    const change = { change: 'on', mode, containers, forSeconds } as const
    // At boot the agent waits for this to end: it is not asked, and sees it by what is redirected.
    if (!flags['before-agent']) await tellAgent(socketsOf(flags), change)
    if (flags.json) printAnswer('lockdown-change', change)
    else if (plan.forSeconds !== undefined) {
      const call = 'metabind lockdown confirm'
      print(`rolls back in ${plan.forSeconds} s unless confirmed: ${call}\n`)
    }
  }
  return 0
}

/** The route first, so that what the rules mark finds it. */
function makeRules(plan: Lockdown): void {
  const wereMarked = takesMarked()
  try {
    if (plan.containers === 'redirect') takeMarked(plan.address)
    applyRules(lockdownRules(plan))
  } catch (error) {
    if (!wereMarked) leaveMarked()
    throw error
  }
  if (plan.containers !== 'redirect') leaveMarked()
  mendRoute()
}

/**
 * Rules and route are two transactions. Another command may have come between those of this one: then the rules that
 * are in force, whoever made them, have to find their route.
 */
function mendRoute(): void {
  const state = lockdownState()
  if (state?.address === undefined || !state.takesContainers || takesMarked()) return
  takeMarked(state.address)
}

function inWords(state: ReturnType<typeof lockdownState>): string {
  if (state === undefined) return 'off\n'
  if (state.state === 'rolled-back')
    return 'rolled back: its time is over, and nothing is guarded\n'
  const rows: [string, string | undefined][] = [
    ['mode', state.state],
    ['address', state.address],
    ['redirected', `${state.redirected} connections`],
    ['refused', `${state.refused} packets`],
    ['ends', state.secondsLeft === undefined ? 'never' : `in ${state.secondsLeft} s`],
  ]
  return asRows(rows, 11)
}
