import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ParseArgsOptionsConfig } from 'node:util'
import { MetabindError, UsageError } from '../errors.ts'
import { readAtMost, readFileAtMost } from '../storage/read-at-most.ts'
import {
  ALIYUN_EK_ANCHORS,
  ALIYUN_EKMF_CERTIFICATE,
  type Trust,
  type VerifyOptions,
} from '../verify/index.ts'
import { unusable } from './files.ts'
import { choiceOf } from './options.ts'

/** The options that say what evidence is checked against. */
export const EVIDENCE_OPTIONS = {
  nonce: { type: 'string' },
  anchors: { type: 'string' },
  'pin-ek': { type: 'string', multiple: true },
  'identity-certificate': { type: 'string' },
  'instance-id': { type: 'string' },
  'ek-instance': { type: 'string' },
  'pcr-policy': { type: 'string' },
  'demand-document': { type: 'boolean' },
} as const satisfies ParseArgsOptionsConfig

export const EVIDENCE_HELP = `  --nonce HEX          the nonce that you sent: 16 to 64 bytes
  --anchors DIR        certificates that the EK certificate must lead to, PEM or
                       DER (default: Alibaba Cloud's)
  --pin-ek HEX         SHA-256 of a known EK's SubjectPublicKeyInfo; may be
                       repeated
  --identity-certificate FILE
                       whose key signs identity documents (default: Alibaba
                       Cloud's)
  --instance-id ID     the instance that it must be
  --ek-instance require|prefer|ignore
                       must the EK certificate name the instance
  --pcr-policy FILE    values that the PCRs may have
  --demand-document    refuse evidence without the cloud's identity document
`

const FILE_BYTES_MAX = 4 * 1024 * 1024
const NONCE = /^(?:[0-9A-Fa-f]{2}){16,64}$/
const CERTIFICATE_FILE = /\.(?:pem|crt|cer|der)$/

interface Values {
  readonly nonce?: string
  readonly anchors?: string
  readonly 'pin-ek'?: string[]
  readonly 'identity-certificate'?: string
  readonly 'instance-id'?: string
  readonly 'ek-instance'?: string
  readonly 'pcr-policy'?: string
  readonly 'demand-document'?: boolean
}

/** @throws UsageError, MetabindError FILE_UNUSABLE */
export function verifyOptions(values: Values): VerifyOptions {
  const { nonce } = values
  if (nonce === undefined) throw new UsageError('--nonce is missing: the one that you sent, in hex')
  if (!NONCE.test(nonce)) throw new UsageError('--nonce takes 16 to 64 bytes in hex')
  return {
    nonce: Buffer.from(nonce, 'hex'),
    now: new Date(),
    trust: trustOf(values),
    expectedInstanceId: values['instance-id'],
    ekInstance: ekInstanceOf(values['ek-instance']),
    demandDocument: values['demand-document'] === true,
    pcrPolicy: values['pcr-policy'] === undefined ? undefined : readBytes(values['pcr-policy']),
  }
}

/** Naming anchors or pins replaces the built-in ones: nobody should trust a cloud without knowing. */
function trustOf(values: Values): Trust {
  const identity = values['identity-certificate']
  const ekPins = values['pin-ek'] ?? []
  const identityCertificate =
    identity === undefined ? {} : { identityCertificate: readBytes(identity) }
  if (values.anchors !== undefined) {
    return { ekAnchors: readAnchors(values.anchors), ekPins, ...identityCertificate }
  }
  if (ekPins.length > 0) return { ekPins, ...identityCertificate }
  return {
    ekAnchorFingerprints: ALIYUN_EK_ANCHORS,
    intermediates: [Buffer.from(ALIYUN_EKMF_CERTIFICATE)],
    ...identityCertificate,
  }
}

function ekInstanceOf(word: string | undefined): VerifyOptions['ekInstance'] {
  if (word === undefined) return undefined
  return choiceOf('--ek-instance', ['require', 'prefer', 'ignore'], word)
}

function readAnchors(directory: string): Buffer[] {
  const names = orUnusable(directory, () => readdirSync(directory))
  const files = names.filter((name) => CERTIFICATE_FILE.test(name))
  if (files.length === 0) {
    throw new MetabindError('FILE_UNUSABLE', `${directory} has no .pem, .crt, .cer or .der file.`)
  }
  return files.sort().map((name) => readBytes(join(directory, name)))
}

/** A file of bounded size; `-` is standard input. */
export function readBytes(path: string): Buffer {
  const bytesMax = FILE_BYTES_MAX + 1
  const bytes = orUnusable(path, () =>
    path === '-' ? readAtMost(0, bytesMax) : readFileAtMost(path, bytesMax),
  )
  if (bytes.length > FILE_BYTES_MAX)
    throw new MetabindError('FILE_UNUSABLE', `${path} is too long.`)
  return bytes
}

function orUnusable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw unusable(path, error)
  }
}
