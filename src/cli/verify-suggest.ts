import { UsageError } from '../errors.ts'
import { suggestPcrPolicy, unwrapEvidence } from '../verify/index.ts'
import { parseVerb } from './options.ts'
import { print, printAnswer } from './output.ts'
import { readBytes, TRUST_OPTIONS, trustOf } from './verify-trust.ts'

const FILES_MAX = 64

/** `metabind verify suggest-policy`: a PCR policy for machines like these. */
export function suggestFromEvidence(args: readonly string[]): number {
  const options = { ...TRUST_OPTIONS, json: { type: 'boolean' } } as const
  const { values, positionals } = parseVerb(args, options, FILES_MAX)
  if (positionals.length === 0) throw new UsageError('FILE is missing')
  const trust = trustOf(values)
  const policy = suggestPcrPolicy(
    positionals.map((file) => unwrapEvidence(readBytes(file))),
    {
      trust,
      now: new Date(),
      ekInstance: 'ignore',
    },
  )
  if (values.json) printAnswer('verify-suggest', { policy: JSON.parse(policy) })
  else print(policy)
  return 0
}
