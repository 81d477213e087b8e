import type { ParseArgsOptionsConfig } from 'node:util'
import { UsageError } from '../errors.ts'
import type { VerifyOptions } from '../verify/index.ts'
import { readBytes } from './verify-trust.ts'

/** The options that say what must have been measured, and who says so. */
export const POLICY_OPTIONS = {
  'pcr-policy': { type: 'string' },
  'policy-key': { type: 'string' },
  'policy-signature': { type: 'string' },
  'policy-min-revision': { type: 'string' },
  'pcr-signatures': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

export const POLICY_HELP = `  --pcr-policy FILE    what must have been measured: values or events
  --policy-key FILE    the public key, PEM, that must have signed the policy
  --policy-signature FILE
                       its signature (default: the policy's name and .sig)
  --policy-min-revision N
                       refuse policies of a lower revision
  --pcr-signatures FILE
                       the section .pcrsig of the kernel image, for a policy
                       that wants signed values
`

interface Values {
  readonly 'pcr-policy'?: string
  readonly 'policy-key'?: string
  readonly 'policy-signature'?: string
  readonly 'policy-min-revision'?: string
  readonly 'pcr-signatures'?: string
}

type Policy = Pick<
  VerifyOptions,
  'pcrPolicy' | 'pcrPolicyKey' | 'pcrPolicySignature' | 'pcrPolicyRevisionMin' | 'pcrSignatures'
>

/** @throws UsageError, MetabindError FILE_UNUSABLE */
export function policyOptions(values: Values): Policy {
  const { 'pcr-policy': policy, 'policy-key': key, 'policy-signature': signature } = values
  const of = ['--policy-key', '--policy-signature', '--policy-min-revision', '--pcr-signatures']
  const alone = of.find((name) => Object.hasOwn(values, name.slice(2)))
  if (policy === undefined && alone !== undefined) {
    throw new UsageError(`${alone} belongs to --pcr-policy`)
  }
  if (key === undefined && signature !== undefined) {
    throw new UsageError('--policy-signature belongs to --policy-key')
  }
  const signed = key === undefined ? undefined : (signature ?? `${policy}.sig`)
  return {
    pcrPolicy: optionalBytes(policy),
    pcrPolicyKey: optionalBytes(key),
    pcrPolicySignature: optionalBytes(signed),
    pcrPolicyRevisionMin: revisionOf(values['policy-min-revision']),
    pcrSignatures: optionalBytes(values['pcr-signatures']),
  }
}

function revisionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9][0-9]{0,9}$/.test(text)) {
    throw new UsageError('--policy-min-revision takes a whole number from 1')
  }
  return Number(text)
}

function optionalBytes(path: string | undefined): Buffer | undefined {
  return path === undefined ? undefined : readBytes(path)
}
