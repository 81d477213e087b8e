import { MetabindError } from '../errors.ts'
import { type EnrolledInstance, subjectOf } from '../registrar-repository/enrolled-instance.ts'
import type { RegistrarConfig } from './registrar-config.ts'

export type Audience = RegistrarConfig['audience'][number]

/**
 * The audience of a name, if the instance may have tokens for it.
 *
 * @throws MetabindError REGISTRAR_AUDIENCE if none is configured, REGISTRAR_NOT_ALLOWED
 */
export function audienceFor(
  audiences: readonly Audience[],
  name: string,
  instance: EnrolledInstance,
): Audience {
  const audience = audiences.find((one) => one.name === name)
  if (audience === undefined) throw new MetabindError('REGISTRAR_AUDIENCE')
  const { anchored, dialects, instances } = audience
  const isRight =
    (!anchored || instance.anchor !== 'none') &&
    (dialects === undefined || dialects.some((one) => one === instance.dialect)) &&
    (instances === undefined || instances.some((one) => fits(one, subjectOf(instance))))
  if (!isRight) throw new MetabindError('REGISTRAR_NOT_ALLOWED', subjectOf(instance))
  return audience
}

/** @param pattern whole, or with one `*` at its end for whatever follows */
function fits(pattern: string, subject: string): boolean {
  return pattern.endsWith('*') ? subject.startsWith(pattern.slice(0, -1)) : subject === pattern
}
