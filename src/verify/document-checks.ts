import { identityDocumentAudience } from '../format/evidence-nonce.ts'
import { type Check, refuseUnless } from './check.ts'
import {
  parseSignedDocument,
  readDocument,
  requireDocumentSignature,
  type SignedDocument,
} from './identity-document.ts'
import type { Subject } from './subject.ts'

/** What the cloud says the instance is. */
export const DOCUMENT_CHECKS: readonly Check[] = [
  {
    name: 'identity document: there',
    codes: ['VERIFY_DOCUMENT_ABSENT'],
    run: ({ evidence, demands }) => {
      const isThere = evidence.identityDocument !== undefined
      refuseUnless(isThere || !demands.demandDocument, 'VERIFY_DOCUMENT_ABSENT')
    },
  },
  {
    name: 'identity document: signature',
    codes: ['VERIFY_DOCUMENT', 'VERIFY_DOCUMENT_SIGNATURE'],
    run: withDocument((document, { demands: { trust } }) =>
      requireDocumentSignature(document, trust.identityCertificate, trust.identityKey),
    ),
  },
  {
    name: 'identity document: audience',
    codes: ['VERIFY_DOCUMENT', 'VERIFY_DOCUMENT_AUDIENCE'],
    run: withDocument((document, { qualifier }) => {
      const wanted = identityDocumentAudience(qualifier)
      refuseUnless(readDocument(document).audience === wanted, 'VERIFY_DOCUMENT_AUDIENCE')
    }),
  },
  {
    name: 'identity document: instance',
    codes: ['VERIFY_DOCUMENT_INSTANCE'],
    run: withDocument((document, { evidence }) => {
      const isSame = readDocument(document)['instance-id'] === evidence.instanceId
      refuseUnless(isSame, 'VERIFY_DOCUMENT_INSTANCE')
    }),
  },
]

function withDocument(
  check: (document: SignedDocument, subject: Subject) => void,
): (subject: Subject) => void {
  return (subject) => {
    const document = documentIn(subject)
    if (document !== undefined) check(document, subject)
  }
}

/** Three checks ask for it. @throws MetabindError VERIFY_DOCUMENT */
function documentIn(subject: Subject): SignedDocument | undefined {
  const { identityDocument } = subject.evidence
  if (identityDocument === undefined) return undefined
  const parsed = documents.get(subject) ?? parseSignedDocument(identityDocument.pkcs7)
  documents.set(subject, parsed)
  return parsed
}

const documents = new WeakMap<Subject, SignedDocument>()
