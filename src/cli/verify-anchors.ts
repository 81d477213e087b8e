import { type AnchorNeeds, anchorNeeds, unwrapEvidence } from '../verify/index.ts'
import { parseVerb } from './options.ts'
import { print, printAnswer } from './output.ts'
import { asRows } from './table.ts'
import { namingFiles, readBytes, TRUST_OPTIONS, trustByName } from './verify-trust.ts'

/** Not 0: a script would take it that nothing is missing. */
const EXIT_MISSING = 3
const VALUE_COLUMN = 14

/** `metabind verify anchors`: what certificates need, and who has it. @throws UsageError, MetabindError */
export function verifyAnchors(args: readonly string[], fileOf: (words: string[]) => string) {
  const { trust, anchors } = TRUST_OPTIONS
  const options = { trust, anchors, json: { type: 'boolean' } } as const
  const { values, positionals } = parseVerb(args, options, 1)
  const file = unwrapEvidence(readBytes(fileOf(positionals)))
  const sets = trustByName(values)
  const chains = namingFiles(Object.values(sets), () => anchorNeeds(file, sets))
  if (values.json) printAnswer('verify-anchors', { chains })
  else print(chains.length === 0 ? NO_CERTIFICATE : chains.map(inWords).join('\n'))
  const isWhole = chains.length > 0 && chains.every(({ isAnchored }) => isAnchored)
  return isWhole ? 0 : EXIT_MISSING
}

const NO_CERTIFICATE =
  'There is no certificate in it; an EK without one can be pinned (--pin-ek).\n'

function inWords({ of, certificates, missing }: AnchorNeeds): string {
  const rows = certificates.flatMap((certificate, at): [string, string][] => [
    [at === 0 ? of : 'issued by', certificate.subject === '' ? '(no name)' : certificate.subject],
    ['  SHA-256', certificate.fingerprint],
    ['  until', certificate.notAfter],
    ['  is in', certificate.foundIn.join(', ')],
    ...(certificate.anchorOf.length > 0
      ? [['  anchor of', certificate.anchorOf.join(', ')] as [string, string]]
      : []),
    ...certificate.crlUrls.map((url): [string, string] => ['  lists at', url]),
  ])
  return asRows([...rows, ...missingRows(certificates.at(-1), missing)], VALUE_COLUMN)
}

function missingRows(
  last: AnchorNeeds['certificates'][number] | undefined,
  missing: AnchorNeeds['missing'],
): [string, string][] {
  if (last === undefined || missing === undefined) return []
  if (missing === 'anchor') {
    return [['missing', `it leads to ${last.fingerprint}, which is an anchor of no set`]]
  }
  return [
    ['missing', `its issuer: ${last.issuer}`],
    ...(last.issuerKeyId === undefined ? [] : [['  key id', last.issuerKeyId] as [string, string]]),
    ...last.issuerUrls.map((url): [string, string] => ['  may be at', url]),
  ]
}
