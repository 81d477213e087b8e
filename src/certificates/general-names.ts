import { MetabindError } from '../errors.ts'
import type { Certificate } from './certificate.ts'
import { type DerNode, parseDer } from './der.ts'
import { comparableRdns, looselyComparableRdns } from './distinguished-name.ts'
import { EXTENSION } from './extension-oids.ts'

/** The names in a certificate, as name constraints look at them (RFC 5280 4.2.1.6, 4.2.1.10). */
export type GeneralName =
  | {
      readonly form: 'directoryName'
      readonly rdns: readonly string[]
      /** The same with no string type kept apart. */
      readonly looseRdns: readonly string[]
    }
  | {
      readonly form: 'rfc822Name' | 'dNSName' | 'uniformResourceIdentifier'
      readonly text: string
    }
  | { readonly form: 'iPAddress'; readonly bytes: Buffer }
  | { readonly form: 'otherName' | 'x400Address' | 'ediPartyName' | 'registeredID' }

const EMAIL_ADDRESS = Buffer.from('2a864886f70d010901', 'hex')
// id-on-SmtpUTF8Mailbox (RFC 9598 6): constraints of rfc822Name hold for it too.
const SMTP_UTF8_MAILBOX = Buffer.from('2b06010505070809', 'hex')

/** @throws MetabindError VERIFY_CERTIFICATE */
export function generalNameOf({ tag, content, children: [child] }: DerNode): GeneralName {
  switch (tag) {
    case 0xa0:
      return { form: 'otherName' }
    case 0x81:
      return { form: 'rfc822Name', text: content.toString('latin1') }
    case 0x82:
      return { form: 'dNSName', text: content.toString('latin1') }
    case 0xa3:
      return { form: 'x400Address' }
    case 0xa4:
      return directoryName(child)
    case 0xa5:
      return { form: 'ediPartyName' }
    case 0x86:
      return { form: 'uniformResourceIdentifier', text: content.toString('latin1') }
    case 0x87:
      return { form: 'iPAddress', bytes: content }
    case 0x88:
      return { form: 'registeredID' }
    default:
      return malformed()
  }
}

/**
 * All names that a certificate is for: its subject, the mail addresses in that, and subjectAltName.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function namesOf(certificate: Certificate): readonly GeneralName[] {
  const subject = parseDer(certificate.subject)
  const san = certificate.extensions.get(EXTENSION.subjectAltName)
  return [
    ...(subject.children.length === 0 ? [] : [directoryName(subject)]),
    ...mailAddressesOf(subject),
    ...(san === undefined ? [] : alternativeNamesOf(parseDer(san.value))),
  ]
}

function alternativeNamesOf({ tag, children }: DerNode): GeneralName[] {
  if (tag !== 0x30) malformed()
  return children.flatMap((name) => {
    const isMailbox = name.tag === 0xa0 && name.children[0]?.content.equals(SMTP_UTF8_MAILBOX)
    return isMailbox === true ? [generalNameOf(name), UNREADABLE_MAILBOX] : [generalNameOf(name)]
  })
}

/** An internationalized mailbox is not read: it is an address that no constraint permits. */
const UNREADABLE_MAILBOX: GeneralName = { form: 'rfc822Name', text: '' }

function mailAddressesOf({ children }: DerNode): GeneralName[] {
  return children.flatMap((rdn) =>
    rdn.children.flatMap(({ children: [type, value] }): GeneralName[] =>
      type?.content.equals(EMAIL_ADDRESS) === true
        ? [{ form: 'rfc822Name', text: value?.content.toString('latin1') ?? '' }]
        : [],
    ),
  )
}

function directoryName(name: DerNode | undefined): GeneralName {
  if (name?.tag !== 0x30) return malformed()
  return {
    form: 'directoryName',
    rdns: comparableRdns(name),
    looseRdns: looselyComparableRdns(name),
  }
}

function malformed(): never {
  throw new MetabindError('VERIFY_CERTIFICATE', 'GeneralName is malformed.')
}
