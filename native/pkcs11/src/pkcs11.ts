/**
 * Signing keys in a token of PKCS #11 (OASIS, v2.40 and v3.1), such as an HSM: made, found, used and destroyed there.
 * Nothing here runs on the event loop but the loading of the module.
 */
export type { KeyType, PublicPart } from './key-type.ts'
export { Pkcs11Error, type Pkcs11ErrorCode } from './pkcs11-error.ts'
export { type Pkcs11Token, type Pkcs11TokenOptions, pkcs11Token } from './token.ts'
