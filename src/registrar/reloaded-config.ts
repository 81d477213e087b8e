import type { RegistrarConfig } from './registrar-config.ts'

/**
 * Sections that a running registrar takes over. Any other one, also of a later version, needs a restart. What
 * audiences are given is named by `spiffe`: if that was changed, they are kept with it.
 */
const TAKEN: ReadonlySet<string> = new Set(['trust', 'admission', 'audience', 'limits', 'log'])
/** Of the limits what the server was made with. */
const LIMITS_KEPT = ['connections', 'evidence_bytes_max', 'request_timeout_ms'] as const

/**
 * What holds after a reload.
 *
 * @param started what holds now
 * @param read what the files say now
 * @returns with the names of what was changed in the files and needs a restart
 */
export function reloadedConfig(
  started: RegistrarConfig,
  read: RegistrarConfig,
): { readonly config: RegistrarConfig; readonly kept: readonly string[] } {
  const old: Readonly<Record<string, unknown>> = started
  const isNamedAlike = isSame(read.spiffe, started.spiffe)
  const isTaken = (section: string) =>
    TAKEN.has(section) && (section !== 'audience' || isNamedAlike)
  const kept = Object.entries(read)
    .filter(([section, value]) => !isTaken(section) && !isSame(value, old[section]))
    .map(([section]) => section)
  const limitsKept = LIMITS_KEPT.filter((name) => read.limits[name] !== started.limits[name])
  const limits = { ...read.limits }
  for (const name of LIMITS_KEPT) limits[name] = started.limits[name]
  const { trust, admission, log } = read
  const { audience } = isNamedAlike ? read : started
  return {
    config: { ...started, trust, admission, audience, log, limits },
    kept: [...kept, ...limitsKept.map((name) => `limits.${name}`)],
  }
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
