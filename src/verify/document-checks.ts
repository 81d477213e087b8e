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
    run: withDocument((document, { demands }) => {
      const wanted = identityDocumentAudience(demands.nonce)
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
    const document = subject.evidence.identityDocument
    if (document !== undefined) check(parseSignedDocument(document.pkcs7), subject)
  }
}
