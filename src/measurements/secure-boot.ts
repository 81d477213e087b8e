import type { TpmHash } from '../format/algorithms.ts'
import { isMeasured, type MeasuredEvent, measuredBytes } from '../format/measured-event.ts'
import {
  EFI_GLOBAL_VARIABLE,
  EFI_IMAGE_SECURITY_DATABASE,
  parseUefiVariable,
  SHIM_LOCK,
  type UefiVariable,
} from '../format/uefi-variable.ts'
import { refusePolicy } from './proven-events.ts'

/**
 * PCR 7 (TCG PC Client Platform Firmware Profile 1.05, 3.3.4.8): firmware measures SecureBoot, PK, KEK, db and dbx, then
 * a separator, then each authority by which an image was verified.
 *
 * Types of events are believed nowhere: whoever hands over the log can rename an event to one that a reader skips, and
 * append what the reader wants to see (go-attestation's docs/event-log-disclosure.md). So each event of PCR 7 must be
 * bytes that its digest is the hash of, and what it is they say themselves: a variable has its name within.
 */

type DatabaseName = 'PK' | 'KEK' | 'db' | 'dbx'

/** By which an image was verified. */
export interface Authority {
  /** Its event in the log. */
  readonly event: number
  /** The database that it is from: `db`, shim's `MokListRT` and `Shim`; or `dbx` and `MokListX`, which forbade an image. */
  readonly database: string
  /** EFI_SIGNATURE_DATA: the GUID of its owner and a certificate or a hash. Shim leaves the GUID out at times. */
  readonly contents: Buffer
}

export interface SecureBoot {
  readonly isOn: boolean
  /** Whether shim was told to verify nothing (MokSBState). */
  readonly isShimOff: boolean
  /** Whether a debugger of the firmware was there. */
  readonly isDebugged: boolean
  readonly databases: ReadonlyMap<DatabaseName, Buffer>
  /** Of the images that were started after firmware was done. */
  readonly authorities: readonly Authority[]
}

const VENDORS: ReadonlyMap<string, string> = new Map([
  ['SecureBoot', EFI_GLOBAL_VARIABLE],
  ['PK', EFI_GLOBAL_VARIABLE],
  ['KEK', EFI_GLOBAL_VARIABLE],
  ['db', EFI_IMAGE_SECURITY_DATABASE],
  ['dbx', EFI_IMAGE_SECURITY_DATABASE],
])
const DATABASES: readonly DatabaseName[] = ['PK', 'KEK', 'db', 'dbx']
/** What shim measures of its own state: no authorities. */
const SHIM_STATE: ReadonlySet<string> = new Set([
  'MokSBState',
  'MokListTrusted',
  'SbatLevel',
  'SBAT',
])
// An error instead is logged as 1 (Platform Firmware Profile 1.05, EV_SEPARATOR).
const SEPARATORS = [Buffer.alloc(4), Buffer.alloc(4, 0xff)]
const DEBUGGED = 'UEFI Debug Mode'
const ACTIONS: ReadonlySet<string> = new Set([DEBUGGED, 'DMA Protection Disabled'])
/** More than any machine has; each may be a certificate to be parsed. */
const AUTHORITIES_MAX = 64

/**
 * Reads PCR 7.
 *
 * @param events all of PCR 7, from provenEvents
 * @throws MetabindError VERIFY_PCR_POLICY if an event is not what can stand there, or not in its place
 */
export function readSecureBoot(
  events: readonly MeasuredEvent[],
  bank: TpmHash['name'],
): SecureBoot {
  const separators = events.filter((event) => isSeparator(event, bank))
  const [separator] = separators
  if (separator === undefined)
    refusePolicy('PCR 7 has no separator: firmware measured nothing in it')
  if (separators.length > 1)
    refusePolicy(`event ${separators[1]?.number} is a second separator of PCR 7`)
  const read: ReadEvent[] = events
    .filter((event) => event !== separator)
    .map((event) => ({ event, ...readEvent(event, bank) }))
  const isBefore = ({ event }: { event: MeasuredEvent }) => event.number < separator.number
  const variables = configured(read.filter(isBefore))
  return {
    isOn: variables.get('SecureBoot')?.equals(Uint8Array.of(1)) === true,
    isShimOff: read.some(({ variable }) => isSetState(variable, 'MokSBState')),
    isDebugged: read.some(({ action }) => action === DEBUGGED),
    databases: new Map(
      DATABASES.flatMap((name) => {
        const contents = variables.get(name)
        return contents === undefined ? [] : [[name, contents] as const]
      }),
    ),
    authorities: authoritiesIn(read.filter((each) => !isBefore(each))),
  }
}

interface ReadEvent {
  readonly event: MeasuredEvent
  readonly variable?: UefiVariable
  readonly action?: string
}

function isSeparator(event: MeasuredEvent, bank: TpmHash['name']): boolean {
  return SEPARATORS.some((value) => isMeasured(event, bank, value))
}

/** What an event is, by the bytes that were measured. */
function readEvent(
  event: MeasuredEvent,
  bank: TpmHash['name'],
): { variable: UefiVariable } | { action: string } {
  const bytes = measuredBytes(event, bank)
  if (bytes === undefined) refusePolicy(`event ${event.number} of PCR 7 was not made of its data`)
  const variable = parseUefiVariable(bytes)
  if (variable !== undefined) return { variable }
  const action = bytes.toString('latin1').replace(/\0$/, '')
  if (!ACTIONS.has(action)) refusePolicy(`event ${event.number} of PCR 7 is nothing that is known`)
  return { action }
}

/**
 * The variables of Secure Boot: the first of each name. A second one cannot be firmware's, but for `db`: before the
 * separator it is the authority of a driver.
 */
function configured(read: readonly ReadEvent[]): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const { event, variable } of read) {
    if (variable === undefined || VENDORS.get(variable.name) !== variable.vendor) continue
    const { name, contents } = variable
    if (!found.has(name)) found.set(name, contents)
    else if (name !== 'db') refusePolicy(`event ${event.number} is a second ${name} in PCR 7`)
  }
  return found
}

function authoritiesIn(read: readonly ReadEvent[]): Authority[] {
  const authorities: Authority[] = []
  for (const { event, variable } of read) {
    if (variable === undefined) continue
    const { vendor, name, contents } = variable
    if (vendor === EFI_GLOBAL_VARIABLE) {
      refusePolicy(`event ${event.number} is a ${name} behind the separator of PCR 7`)
    }
    if (vendor === SHIM_LOCK && SHIM_STATE.has(name)) continue
    authorities.push({ event: event.number, database: name, contents })
  }
  if (authorities.length > AUTHORITIES_MAX)
    refusePolicy(`${authorities.length} authorities in PCR 7`)
  return authorities
}

function isSetState(variable: UefiVariable | undefined, name: string): boolean {
  if (variable?.vendor !== SHIM_LOCK || variable.name !== name) return false
  return variable.contents.some((byte) => byte !== 0)
}
