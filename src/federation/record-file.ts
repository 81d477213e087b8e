import { join } from 'node:path'
import { z } from 'zod'
import { parseJson } from '../json.ts'
import { readPrivateFile, writePrivateFile } from '../storage/private-file.ts'

/** What the state directory remembers of the last enrolment. Nothing in it is secret, and the registrar trusts none. */
export interface EnrolmentRecord {
  /** The registrar's own name. */
  readonly url: string
  readonly iid: string
  readonly subject: string
  readonly generation: number
  readonly expiresAtMs: number
}

const FILE_BYTES_MAX = 4096
/** The end of the year 9999: later times have no form that people read. */
export const TIME_MS_MAX = 253_402_300_799_999
const schema = z.strictObject({
  version: z.literal(1),
  url: z.string().max(256),
  iid: z.string().regex(/^[0-9a-f]{32}$/),
  subject: z.string().regex(/^[\x21-\x7e]{1,256}$/),
  generation: z.int().min(0),
  expiresAtMs: z.int().min(0).max(TIME_MS_MAX),
})

/**
 * @returns undefined if there is none, if it is of another registrar or identity, or cannot be understood: the instance
 *   then enrols as if it had forgotten all, which the registrar lets it
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT
 */
export function readEnrolmentRecord(
  stateDirectory: string,
  { url, iid }: Pick<EnrolmentRecord, 'url' | 'iid'>,
): EnrolmentRecord | undefined {
  const bytes = readPrivateFile(pathIn(stateDirectory), FILE_BYTES_MAX)
  const parsed = bytes === undefined ? undefined : schema.safeParse(parseJson(bytes))
  if (!parsed?.success) return undefined
  const { version: _version, ...record } = parsed.data
  return record.url === url && record.iid === iid ? record : undefined
}

/** @throws MetabindError DIRECTORY_FAULT */
export function writeEnrolmentRecord(stateDirectory: string, record: EnrolmentRecord): void {
  const file = { version: 1, ...record }
  writePrivateFile(pathIn(stateDirectory), Buffer.from(`${JSON.stringify(file)}\n`))
}

function pathIn(stateDirectory: string): string {
  return join(stateDirectory, 'registrar.json')
}
