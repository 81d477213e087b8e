/** What can be done in a sequence. Every method may throw a TpmError; README.md lists the codes. */

/** A loaded object, usable until the end of its sequence. Its handle stays inside this library. */
export interface TpmObject {
  /** Name: nameAlg and digest of the public area (Part 1, 16). For a handle in NV too. */
  readonly name: Uint8Array
  /** TPMT_PUBLIC in wire form, without the TPM2B size. */
  readonly publicArea: Uint8Array
}

/** A session, usable until the end of its sequence. */
export interface TpmSession {
  readonly type: 'hmac' | 'policy' | 'trial'
}

export type Hierarchy = 'owner' | 'endorsement' | 'null' | 'platform'

/** One bank of PCRs. `pcrs` are distinct numbers from 0 to 23. */
export interface PcrSelection {
  readonly hash: 'sha1' | 'sha256' | 'sha384' | 'sha512'
  readonly pcrs: readonly number[]
}

/** The values of one bank, by PCR number. */
export interface PcrBank {
  readonly hash: PcrSelection['hash']
  readonly values: ReadonlyMap<number, Uint8Array>
}

export interface CreatePrimaryOptions {
  /** Authorizes the hierarchy; may encrypt parameters. Without it: the empty password. */
  readonly session?: TpmSession
  /** userAuth of the new object, at most 64 bytes; empty when left out. */
  readonly auth?: Uint8Array
}

export interface SessionOptions {
  readonly type: TpmSession['type']
  /** A loaded decryption key to which the session's secret is encrypted ("salted"), AES-128-CFB. */
  readonly tpmKey?: TpmObject
  /** Session hash, sha256 when left out. */
  readonly hash?: 'sha256' | 'sha384'
}

/** TPMA_SESSION bits (Part 2, 8.4). All four are set; what is left out becomes clear. */
export interface SessionAttributes {
  readonly continueSession?: boolean
  readonly decrypt?: boolean
  readonly encrypt?: boolean
  readonly audit?: boolean
}

/** An attestation: the signed TPMS_ATTEST and its TPMT_SIGNATURE, both in wire form. */
export interface Attestation {
  readonly attest: Uint8Array
  readonly signature: Uint8Array
}

/** Commands of Part 3, by their names there. Sizes are in bytes unless a name says otherwise. */
export interface TpmCommands {
  /** `data` is TPMS_CAPABILITY_DATA. `more` says that the TPM has further values after these. */
  getCapability(
    capability: number,
    property: number,
    count: number,
  ): Promise<{ readonly more: boolean; readonly data: Uint8Array }>
  /** 1 to 64 bytes. A TPM gives no more than its largest digest has; fewer is TPM_RESPONSE. */
  getRandom(bytes: number, session?: TpmSession): Promise<Uint8Array>
  readClock(): Promise<TpmClock>

  /** `template` is TPMT_PUBLIC. Equal templates in one hierarchy of one TPM give the same key. */
  createPrimary(
    hierarchy: Hierarchy,
    template: Uint8Array,
    options?: CreatePrimaryOptions,
  ): Promise<TpmObject>
  /** Public area, Name and qualified Name of a persistent object. */
  readPublic(persistentHandle: number): Promise<TpmPublic>
  /** A persistent object (0x81000000 to 0x81FFFFFF) for use. It is not flushed. */
  objectAt(persistentHandle: number): Promise<TpmObject>
  /** Loads a public area (TPMT_PUBLIC) without its private part, into the null hierarchy. */
  loadExternal(publicArea: Uint8Array): Promise<TpmObject>
  /** Flushes before the end of the sequence. */
  flushContext(subject: TpmObject | TpmSession): Promise<void>

  /**
   * TPM handles of the transient objects and sessions that are loaded. Those of every process, unless
   * a resource manager keeps them apart.
   */
  loadedHandles(): Promise<readonly number[]>
  /** Flushes what is loaded at a TPM handle, whoever loaded it. */
  flushHandle(handle: number): Promise<void>

  /** The new session has continueSession set and, when salted, encrypts nothing until told to. */
  startAuthSession(options: SessionOptions): Promise<TpmSession>
  setSessionAttributes(session: TpmSession, attributes: SessionAttributes): Promise<void>
  /** With the empty password of the hierarchy, no policyRef, no expiration. */
  policySecret(session: TpmSession, hierarchy: Hierarchy): Promise<void>
  /** With the current values of the PCRs. */
  policyPcr(session: TpmSession, pcrs: readonly PcrSelection[]): Promise<void>
  policyGetDigest(session: TpmSession): Promise<Uint8Array>

  /** At most 1024 bytes of data (the input buffer that the PC Client profile guarantees). */
  hmac(key: TpmObject, data: Uint8Array, session?: TpmSession): Promise<Uint8Array>
  /** Signs a digest with the scheme of the key. Returns TPMT_SIGNATURE. For unrestricted keys. */
  sign(key: TpmObject, digest: Uint8Array, session?: TpmSession): Promise<Uint8Array>
  /** `credentialBlob` and `encryptedSecret` are contents without TPM2B size. */
  activateCredential(
    key: TpmObject,
    keyToActivateWith: TpmObject,
    credentialBlob: Uint8Array,
    encryptedSecret: Uint8Array,
    keyToActivateWithSession: TpmSession,
  ): Promise<Uint8Array>
  /** The counterpart of activateCredential, done by the TPM with a public key only. */
  makeCredential(
    key: TpmObject,
    credential: Uint8Array,
    objectName: Uint8Array,
  ): Promise<{ readonly credentialBlob: Uint8Array; readonly encryptedSecret: Uint8Array }>

  quote(
    key: TpmObject,
    qualifyingData: Uint8Array,
    selection: readonly PcrSelection[],
  ): Promise<Attestation>
  certify(
    object: TpmObject,
    signingKey: TpmObject,
    qualifyingData: Uint8Array,
  ): Promise<Attestation>
  /** Needs the (empty) authorization of the endorsement hierarchy. */
  getTime(signingKey: TpmObject, qualifyingData: Uint8Array): Promise<Attestation>

  /** `nvPublic` is TPMS_NV_PUBLIC. An absent index is TPM_RC with rc 0x18B. */
  nvReadPublic(index: number): Promise<NvPublic>
  /** The whole index, authorized by the index itself with an empty password. */
  nvRead(index: number): Promise<Uint8Array>
  /** All PCRs asked for, in as many reads as it takes, from one and the same update counter. */
  pcrRead(
    selection: readonly PcrSelection[],
  ): Promise<{ readonly updateCounter: number; readonly banks: readonly PcrBank[] }>
}

/** TPMS_TIME_INFO (Part 2, 10.11.6). Counters wrap at 2^32. */
export interface TpmClock {
  /** Milliseconds since the last start of the TPM. */
  readonly timeMs: bigint
  /** Milliseconds that the TPM has been powered, over its life. */
  readonly clockMs: bigint
  readonly resetCount: number
  readonly restartCount: number
  /** False after a disorderly shutdown until clockMs is certainly past its old maximum. */
  readonly safe: boolean
}

export interface TpmPublic {
  readonly publicArea: Uint8Array
  readonly name: Uint8Array
  readonly qualifiedName: Uint8Array
}

export interface NvPublic {
  readonly nvPublic: Uint8Array
  readonly name: Uint8Array
  readonly dataBytes: number
}
