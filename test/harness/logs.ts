import { createHash } from 'node:crypto'
import { encode } from 'cborg'
import type { Evidence } from '../../src/format/evidence.ts'

/** Writes the logs that a machine keeps after its firmware, as their sources say (src/format/). */

export type Bank = 'sha1' | 'sha256' | 'sha384'

export const digestOf = (bank: Bank, data: Buffer | string): Buffer =>
  createHash(bank).update(data).digest()

/** What systemd writes: one record of its log. */
export interface SystemdRecord {
  readonly pcr?: number
  readonly nvIndex?: number
  readonly text: string
  readonly type?: string
  /** What was measured, if it is not the text: a secret, for example. */
  readonly measured?: Buffer
}

/** /run/log/systemd/tpm2-measure.log: JSON text sequences, in the order of members that systemd has. */
export function makeSystemdLog(
  records: readonly SystemdRecord[],
  banks: readonly Bank[] = ['sha256'],
): Buffer {
  const texts = records.map(({ pcr, nvIndex, text, type = 'phase', measured }) => {
    const digests = banks.map((hashAlg) => ({
      hashAlg,
      digest: digestOf(hashAlg, measured ?? text).toString('hex'),
    }))
    const content = {
      ...(nvIndex === undefined ? {} : { nvIndexName: 'hardware' }),
      string: text,
      bootId: 'fa1afe1fa1afe1fa1afe1fa1afe1fa1a',
      timestamp: 8_456_197,
      eventType: type,
    }
    const where = nvIndex === undefined ? { pcr } : { nv_index: nvIndex }
    return `\x1e${JSON.stringify({ ...where, digests, content_type: 'systemd', content })}\n`
  })
  return Buffer.from(texts.join(''))
}

/** What IMA measured of a file. */
export interface ImaRecord {
  readonly path: string
  readonly content: string
  readonly pcr?: number
  readonly template?: 'ima' | 'ima-ng' | 'ima-sig' | 'ima-buf' | 'ima-ngv2' | 'ima-sigv2'
  /** The file changed while it was measured. */
  readonly isViolation?: boolean
}

/** Its template data, as it is hashed. */
export function imaData({ path, content, template = 'ima-ng' }: ImaRecord): Buffer {
  if (template === 'ima') {
    return Buffer.concat([digestOf('sha1', content), Buffer.from(path.padEnd(256, '\0'))])
  }
  const type = template.endsWith('v2') ? 'verity:sha256' : 'sha256'
  const fields = [
    Buffer.concat([Buffer.from(`${type}:\0`), digestOf('sha256', content)]),
    Buffer.from(`${path}\0`),
    ...(template.startsWith('ima-sig') ? [Buffer.from('030204deadbeef', 'hex')] : []),
    ...(template === 'ima-buf' ? [Buffer.from(content)] : []),
  ]
  return Buffer.concat(fields.flatMap((field) => [u32(field.length), field]))
}

/** binary_runtime_measurements. */
export function makeImaLog(records: readonly ImaRecord[]): Buffer {
  return Buffer.concat(
    records.map((record) => {
      const { pcr = 10, template = 'ima-ng', path, content, isViolation = false } = record
      const data = imaData(record)
      const digest = isViolation ? Buffer.alloc(20) : digestOf('sha1', data)
      const body =
        template === 'ima'
          ? [digestOf('sha1', content), u32(path.length), Buffer.from(path)]
          : [u32(data.length), data]
      return Buffer.concat([u32(pcr), digest, u32(template.length), Buffer.from(template), ...body])
    }),
  )
}

/** What a kernel extends a bank by. @param kernel before 5.8 it filled up SHA-1 */
export function imaDigest(record: ImaRecord, bank: Bank, kernel: 'old' | 'new' = 'new'): Buffer {
  const bytes = digestOf(bank, '').length
  if (kernel === 'new') {
    return record.isViolation ? Buffer.alloc(bytes, 0xff) : digestOf(bank, imaData(record))
  }
  const sha1 = record.isViolation ? Buffer.alloc(20, 0xff) : digestOf('sha1', imaData(record))
  return Buffer.concat([sha1, Buffer.alloc(bytes)], bytes)
}

/** A record of TCG's Canonical Event Log. */
export interface CelRecord {
  readonly pcr?: number
  readonly nvIndex?: number
  readonly digest: Buffer
  readonly content:
    | { readonly kind: 'pcclient_std'; readonly type: number; readonly data: Buffer }
    | { readonly kind: 'ima_template'; readonly name: string; readonly data: Buffer }
    | { readonly kind: 'cel'; readonly type: number }
}

const CONTENT_TYPES = { cel: 4, pcclient_std: 5, ima_template: 7 } as const

export function makeCelJson(records: readonly CelRecord[]): Buffer {
  const shown = records.map(({ pcr, nvIndex, digest, content }, recnum) => ({
    recnum,
    ...(nvIndex === undefined ? { pcr } : { nv_index: nvIndex }),
    digests: [{ hashAlg: 'sha256', digest: digest.toString('hex') }],
    content_type: content.kind,
    content: jsonContent(content),
  }))
  return Buffer.from(JSON.stringify(shown))
}

function jsonContent(content: CelRecord['content']): object {
  switch (content.kind) {
    case 'pcclient_std':
      return { event_type: content.type, event_data: content.data.toString('hex') }
    case 'ima_template':
      return { template_name: content.name, template_data: content.data.toString('hex') }
    case 'cel':
      return { type: content.type === 1 ? 'cel_version' : 'state_trans', data: 'kexec' }
  }
}

export function makeCelCbor(records: readonly CelRecord[]): Buffer {
  const maps = records.map(({ pcr, nvIndex, digest, content }, recnum) => {
    const digests = [
      new Map<number, unknown>([
        [0, 11],
        [1, digest],
      ]),
    ]
    return new Map<number, unknown>([
      [0, recnum],
      nvIndex === undefined ? [1, pcr] : [2, nvIndex],
      [3, digests],
      [9, CONTENT_TYPES[content.kind]],
      [10, cborContent(content)],
    ])
  })
  return Buffer.from(encode(maps))
}

function cborContent(content: CelRecord['content']): Map<number, unknown> {
  switch (content.kind) {
    case 'pcclient_std':
      return new Map<number, unknown>([
        [0, content.type],
        [1, content.data],
      ])
    case 'ima_template':
      return new Map<number, unknown>([
        [0, content.name],
        [1, content.data],
      ])
    case 'cel':
      return new Map<number, unknown>([
        [0, content.type],
        [1, 2],
      ])
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** Evidence that has nothing but logs. */
export const evidenceOfLogs = (logs: Evidence['logs'], eventLog?: Buffer) =>
  // Of a whole document only this is looked at.
  ({ logs, ...(eventLog === undefined ? {} : { eventLog }) }) as Evidence
