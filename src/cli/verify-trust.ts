import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ParseArgsOptionsConfig } from 'node:util'
import { MetabindError, UsageError } from '../errors.ts'
import { CERTIFICATE_FILE } from '../storage/certificate-files.ts'
import { readAtMost, readFileAtMost } from '../storage/read-at-most.ts'
import {
  joinTrust,
  type ParsedTrust,
  parseTrust,
  TRUST_SETS,
  type Trust,
  type TrustSetName,
} from '../verify/index.ts'
import { isPipe, unusable } from './files.ts'

/** The options that say whom a verifier believes. */
export const TRUST_OPTIONS = {
  trust: { type: 'string', multiple: true },
  anchors: { type: 'string' },
  'pin-ek': { type: 'string', multiple: true },
  crls: { type: 'string', multiple: true },
  'identity-certificate': { type: 'string' },
} as const satisfies ParseArgsOptionsConfig

export const TRUST_HELP = `  --trust NAME|DIR     a set known by name (aliyun), or a directory of makers
                       with RootCA and IntermediateCA in it; may be repeated
  --anchors DIR        certificates that the EK certificate must lead to, PEM or
                       DER (default: --trust aliyun)
  --pin-ek HEX         SHA-256 of a known EK's SubjectPublicKeyInfo; may be
                       repeated
  --crls FILE|DIR      certificate revocation lists, PEM or DER; may be repeated
  --identity-certificate FILE
                       whose key signs identity documents (default: Alibaba
                       Cloud's)
`

export interface TrustValues {
  readonly trust?: string[]
  readonly anchors?: string
  readonly 'pin-ek'?: string[]
  readonly crls?: string[]
  readonly 'identity-certificate'?: string
}

// The longest evidence, in base64.
const FILE_BYTES_MAX = 6 * 1024 * 1024
// A list of 16 MiB in PEM.
const CRL_FILE_BYTES_MAX = 24 * 1024 * 1024
const CRL_FILE = /\.(?:crl|pem|der)$/i
const SHA256 = /^[0-9a-f]{64}$/
/** The folders of a maker, as in Microsoft's TrustedTpm.cab. */
const ROOTS = 'RootCA'
const BETWEEN = 'IntermediateCA'
const MAKERS_MAX = 256

/**
 * Naming anchors, pins or sets replaces the built-in ones: nobody should trust a cloud without knowing.
 *
 * @throws UsageError, MetabindError FILE_UNUSABLE, VERIFY_ANCHOR, VERIFY_CRL_FILE
 */
export function trustOf(values: TrustValues): ParsedTrust {
  const identity = values['identity-certificate']
  const ekPins = (values['pin-ek'] ?? []).map(pinOf)
  const { trust = [], anchors } = values
  const isDefault = trust.length === 0 && anchors === undefined && ekPins.length === 0
  const asked = joinTrust(
    ...(isDefault ? [TRUST_SETS.aliyun] : trust.map(trustByWord)),
    anchors === undefined ? {} : { ekAnchors: readFolder(anchors, CERTIFICATE_FILE) },
    { ekPins, crls: (values.crls ?? []).flatMap(readCrls) },
    identity === undefined ? {} : { identityCertificate: readNamed(identity) },
  )
  return namingFiles([asked], () => parseTrust(asked))
}

/** Where what was read is: to name the one file, of hundreds in a folder, that cannot be used. */
const paths = new WeakMap<Uint8Array, string>()

function readNamed(path: string, bytesMax?: number): Buffer {
  const bytes = readBytes(path, bytesMax)
  paths.set(bytes, path)
  return bytes
}

/** Names the file of these in an error that is about one. @throws MetabindError VERIFY_ANCHOR, VERIFY_CRL_FILE */
export function namingFiles<T>(trusts: readonly Trust[], use: () => T): T {
  try {
    return use()
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    const path = trusts.flatMap(singly).find(isUnusable)?.path
    throw path === undefined ? error : new MetabindError(error.code, `${path}: ${error.detail}`)
  }
}

interface Single {
  readonly path: string | undefined
  readonly trust: Trust
}

/** Each file by itself. */
function singly({
  ekAnchors = [],
  intermediates = [],
  crls = [],
  identityCertificate,
}: Trust): Single[] {
  const identity = identityCertificate === undefined ? [] : [identityCertificate]
  return [
    ...[...ekAnchors, ...intermediates].map((file) => ({ file, trust: { ekAnchors: [file] } })),
    ...crls.map((file) => ({ file, trust: { crls: [file] } })),
    ...identity.map((file) => ({ file, trust: { identityCertificate: file } })),
  ].map(({ file, trust }) => ({ path: paths.get(file), trust }))
}

function isUnusable({ trust }: Single): boolean {
  try {
    parseTrust(trust)
    return false
  } catch {
    return true
  }
}

/** @throws UsageError */
function pinOf(text: string): string {
  const digest = text.replaceAll(':', '').toLowerCase()
  if (!SHA256.test(digest)) throw new UsageError('--pin-ek takes a SHA-256: 64 hex digits')
  return digest
}

/** What each of them trusts, by its name; the built-in sets too, whether they are named or not. */
export function trustByName({ trust = [], anchors }: TrustValues): Record<string, Trust> {
  const asked = trust.map((word): [string, Trust] => [word, trustByWord(word)])
  const folder: [string, Trust][] =
    anchors === undefined ? [] : [[anchors, { ekAnchors: readFolder(anchors, CERTIFICATE_FILE) }]]
  return { ...Object.fromEntries([...asked, ...folder]), ...TRUST_SETS }
}

function trustByWord(word: string): Trust {
  if (isSetName(word)) return TRUST_SETS[word]
  if (word.includes('/') || isDirectory(word)) return trustOfMakers(word)
  const names = Object.keys(TRUST_SETS).join(', ')
  throw new UsageError(`--trust takes ${names} or a directory`)
}

function isSetName(word: string): word is TrustSetName {
  return Object.hasOwn(TRUST_SETS, word)
}

/** A directory with RootCA, and perhaps IntermediateCA, or with such a directory for each maker. */
function trustOfMakers(directory: string): Trust {
  const makers = isDirectory(join(directory, ROOTS))
    ? [directory]
    : entriesOf(directory)
        .map(({ name }) => join(directory, name))
        .filter((path) => isDirectory(join(path, ROOTS)))
  if (makers.length === 0) {
    throw new MetabindError(
      'FILE_UNUSABLE',
      `${directory} has no ${ROOTS}, nor any maker with one.`,
    )
  }
  return joinTrust(...makers.slice(0, MAKERS_MAX).map(trustOfMaker))
}

function trustOfMaker(directory: string): Trust {
  const between = join(directory, BETWEEN)
  return {
    ekAnchors: readFolder(join(directory, ROOTS), CERTIFICATE_FILE),
    intermediates: isDirectory(between) ? readFolder(between, CERTIFICATE_FILE) : [],
  }
}

function readCrls(path: string): Buffer[] {
  return isDirectory(path)
    ? readFolder(path, CRL_FILE, CRL_FILE_BYTES_MAX)
    : [readNamed(path, CRL_FILE_BYTES_MAX)]
}

function readFolder(directory: string, pattern: RegExp, bytesMax?: number): Buffer[] {
  const files = entriesOf(directory)
    .map(({ name }) => name)
    .filter((name) => pattern.test(name))
  if (files.length === 0) {
    const ends = pattern === CRL_FILE ? '.crl, .pem or .der' : '.pem, .crt, .cer or .der'
    throw new MetabindError('FILE_UNUSABLE', `${directory} has no ${ends} file.`)
  }
  return files.sort().map((name) => readNamed(join(directory, name), bytesMax))
}

function entriesOf(directory: string): Dirent[] {
  return orUnusable(directory, () => readdirSync(directory, { withFileTypes: true }))
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/** A file of bounded size; `-` is standard input. */
export function readBytes(path: string, bytesMax = FILE_BYTES_MAX): Buffer {
  if (path !== '-') requireUnwaited(path)
  const bytes = orUnusable(path, () =>
    path === '-' ? readAtMost(0, bytesMax + 1) : readFileAtMost(path, bytesMax + 1),
  )
  if (bytes.length > bytesMax) throw new MetabindError('FILE_UNUSABLE', `${path} is too long.`)
  return bytes
}

/** A pipe with a name, as among the files of a folder, would be waited for. @throws MetabindError FILE_UNUSABLE */
function requireUnwaited(path: string): void {
  const found = orUnusable(path, () => statSync(path, { throwIfNoEntry: false }))
  if (found?.isFIFO() !== true || isPipe(path)) return
  throw new MetabindError('FILE_UNUSABLE', `${path}: it is not a regular file.`)
}

function orUnusable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw unusable(path, error)
  }
}
