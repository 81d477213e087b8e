import { MetabindError } from '../errors.ts'
import type { Certificate } from './certificate.ts'
import { type DerNode, parseDer } from './der.ts'
import { EXTENSION } from './extension-oids.ts'
import { type GeneralName, generalNameOf, namesOf } from './general-names.ts'
import { isInSubtree } from './name-subtree.ts'

/**
 * Name constraints (RFC 5280 4.2.1.10, 6.1.3 (b) and (c), 6.1.4 (g)). What an authority may name holds
 * for all below it, whether the extension is critical or not, and an anchor's holds as any other's. A
 * name must be in what each authority above permits: that is the intersection.
 */
interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

const SEQUENCE = 0x30
const PERMITTED = 0xa0
const EXCLUDED = 0xa1
// One of the two, or both in this order.
const ORDERS: readonly string[] = [`${PERMITTED}`, `${EXCLUDED}`, `${PERMITTED},${EXCLUDED}`]
// Names times subtrees of a path: each certificate could hold thousands of both.
const COMPARISONS_MAX = 4096

/**
 * @param path leaf first, anchor last
 * @throws MetabindError VERIFY_CERTIFICATE_NAMES, VERIFY_CERTIFICATE_EXTENSION, VERIFY_CERTIFICATE
 */
export function requirePermittedNames(path: readonly Certificate[]): void {
  const above: NameConstraints[] = []
  let comparisons = 0
  for (const [at, certificate] of [...path.entries()].reverse()) {
    // An authority that gives itself another key does not name anybody else.
    const isNamed = at === 0 || certificate.comparableSubject !== certificate.comparableIssuer
    if (isNamed && above.length > 0) {
      const names = namesOf(certificate)
      comparisons += names.length * subtreesIn(above)
      if (comparisons > COMPARISONS_MAX) refuse('VERIFY_CERTIFICATE_EXTENSION', 'too many names')
      for (const constraints of above) requirePermitted(names, constraints)
    }
    const own = certificate.extensions.get(EXTENSION.nameConstraints)
    if (own === undefined) continue
    if (at === 0) refuse('VERIFY_CERTIFICATE_EXTENSION', 'name constraints of no authority')
    above.push(nameConstraintsOf(parseDer(own.value)))
  }
}

function subtreesIn(constraints: readonly NameConstraints[]): number {
  return constraints.reduce(
    (sum, { permitted, excluded }) => sum + permitted.length + excluded.length,
    0,
  )
}

function requirePermitted(
  names: readonly GeneralName[],
  { permitted, excluded }: NameConstraints,
): void {
  for (const name of names) {
    const ofForm = permitted.filter(({ form }) => form === name.form)
    const isPermitted = ofForm.length === 0 || ofForm.some((base) => isInSubtree(name, base, false))
    if (!isPermitted) refuse('VERIFY_CERTIFICATE_NAMES', `a ${name.form} that is not permitted`)
    const isExcluded = excluded.some(
      (base) => base.form === name.form && isInSubtree(name, base, true),
    )
    if (isExcluded) refuse('VERIFY_CERTIFICATE_NAMES', `a ${name.form} that is excluded`)
  }
}

function nameConstraintsOf({ tag, children }: DerNode): NameConstraints {
  const isOrdered = ORDERS.includes(children.map((child) => child.tag).join())
  if (tag !== SEQUENCE || !isOrdered) {
    malformed('permittedSubtrees or excludedSubtrees')
  }
  return { permitted: subtreesOf(children, PERMITTED), excluded: subtreesOf(children, EXCLUDED) }
}

function subtreesOf(children: readonly DerNode[], tag: number): GeneralName[] {
  const subtrees = children.find((child) => child.tag === tag)?.children
  if (subtrees?.length === 0) malformed('empty subtrees')
  return (subtrees ?? []).map(({ children: [base, ...bounds] }) => {
    // minimum is 0, which DER leaves out, and maximum is absent (RFC 5280 4.2.1.10).
    if (base === undefined || bounds.length > 0) return malformed('a subtree with bounds')
    return generalNameOf(base)
  })
}

function malformed(what: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE', `nameConstraints is malformed: ${what}.`)
}

function refuse(
  code: 'VERIFY_CERTIFICATE_NAMES' | 'VERIFY_CERTIFICATE_EXTENSION',
  what: string,
): never {
  throw new MetabindError(code, `Found: ${what}.`)
}
