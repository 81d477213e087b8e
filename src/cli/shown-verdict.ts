import type { Permission, Verdict } from '../lockdown/verdict.ts'

/** A verdict as the preview prints it, as JSON or in a table. */
export interface ShownVerdict {
  readonly outcome: Verdict['outcome']
  /** By what was asked about: ordinary metadata and role credentials, or the last path and tokens. */
  readonly permissions: Readonly<Record<string, string>>
  readonly says: string
}

type Settled = Exclude<Verdict, { readonly reason: 'policy' | 'observed' }>

const REASONS: Readonly<Record<Settled['reason'], string>> = {
  'agent-user': "passes: it runs as the agent's user",
  'left-network': 'left alone: in a network of its own, it reaches the service past the agent',
  'own-network': 'refused: in a network of its own; mount the socket into it',
  'unknown-container': 'refused: in a network of its own, but in no container that is known as one',
  'hidden-cgroup': 'refused: its cgroup cannot be seen',
  'nobody-named': 'refused: nobody can be named for it',
  ended: 'unknown: it ended before it could be looked at',
  'agent-silent': 'unknown: the agent does not answer',
}

const TOKENS = {
  always: 'sends tokens',
  sometimes: 'refused where it sends no token',
  never: 'refused: sends no token',
} as const

export function shownVerdict(verdict: Verdict): ShownVerdict {
  const { outcome } = verdict
  if (verdict.reason === 'policy') {
    const metadata = permissionInWords(verdict.metadata)
    const credentials = permissionInWords(verdict.credentials)
    const says = `metadata ${metadata}; credentials ${credentials}`
    return { outcome, permissions: { metadata, credentials }, says }
  }
  if (verdict.reason === 'observed') {
    const lastPath = permissionInWords(verdict.lastPath)
    const token = TOKENS[verdict.sendsTokens]
    return { outcome, permissions: { lastPath, token }, says: `${token}; last path ${lastPath}` }
  }
  return { outcome, permissions: {}, says: REASONS[verdict.reason] }
}

function permissionInWords(permission: Permission): string {
  switch (permission.is) {
    case 'allowed':
      return 'allowed'
    case 'recorded':
      return `allowed, but recorded: ${permission.why}`
    case 'refused':
      return `refused: ${permission.why}`
    case 'no-path':
      return 'refused: no path of metadata'
    case 'no-role':
      return 'unknown: no role can be read'
    case 'agent-silent':
      return REASONS['agent-silent']
  }
}
