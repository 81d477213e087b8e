import type { EnrolledInstance } from './enrolled-instance.ts'

/** An enrolment that waits for the answer to its challenge. */
export interface PendingEnrolment {
  /** Of the challenge, in hex. */
  readonly id: string
  /** The nonce of its evidence, in hex: one is used once. */
  readonly nonce: string
  /** The network that it came from. */
  readonly source: string
  /** What is kept of the challenge, and what is proven as soon as it is answered, sealed. */
  readonly kept: Buffer
  /** The generation that the instance showed; 0 if it has none. */
  readonly generation: number
  readonly nonceIssuedAtMs: number
  readonly expiresAtMs: number
  /** What was answered, once it is finished: the same again to who lost the reply. */
  readonly reply: string | undefined
}

/** An event of the chain. What it says is public to administrators: nothing secret. */
export interface RegistrarEvent {
  readonly event: string
  readonly [member: string]: string | number | readonly string[] | undefined
}

/** A key that signs tokens. */
export interface StoredSigningKey {
  readonly kid: string
  /** What it is for: keys of one kind follow each other. */
  readonly kind: string
  /** From when on it signs. */
  readonly startsAtMs: number
  /** JSON Web Key. */
  readonly publicJwk: string
  /** The private key, or by what it is found in a token: sealed, see key-store.ts. */
  readonly sealed: Buffer
}

/** An index of the status list is another instance's only when all tokens that it stood for are long over. */
export const STATUS_KEPT_MS = 7_200_000

/** What is taken once, such as a proof. */
export interface Once {
  /** 64 hexadecimal digits. */
  readonly id: string
  readonly expiresAtMs: number
}

/** An identity token of an instance that a token is given for. */
export interface Exchanged extends Once {
  readonly iid: string
  readonly audience: string
}

export interface AudienceUse {
  readonly audience: string
  readonly tokens: number
  readonly lastAtMs: number
}

/** Which instances of those that were given tokens are so no more. */
export interface Statuses {
  /** All indexes are below it. */
  readonly count: number
  readonly revoked: readonly number[]
}

/** The end of the chain of events, signed. */
export interface StoredCheckpoint {
  /** Of the event that it signs. */
  readonly seq: number
  /** Thumbprints of the key that signs it, and of those that follow that one: one checkpoint of an event for each set. */
  readonly keys: string
  /** The checkpoint itself, see checkpoint.ts. */
  readonly jws: string
}

export interface NumberedCheckpoint extends StoredCheckpoint {
  readonly number: number
}

/** Several writes that all happen or none. */
export interface Change {
  /** Each with the revision after the one that was read; 1: it was not there. */
  readonly instances: readonly EnrolledInstance[]
  /** A pending enrolment that is answered by it, once. */
  readonly finish?: { readonly id: string; readonly reply: string } | undefined
  readonly events: readonly RegistrarEvent[]
  /**
   * Whether it adds an instance for whose TPM nothing vouches, without an administrator's word: then no more than so many
   * may be held or suspended. What strangers add is bounded also if they have each other suspended.
   */
  readonly strangersMax?: number | undefined
}

/** What two instances may not share while none of them is evicted. */
type InstanceKeysKnown = Pick<
  EnrolledInstance,
  'iid' | 'dialect' | 'instanceId' | 'ekName' | 'akName'
>

/**
 * All that the registrar keeps. Whatever implements it passes test/registrar-repository/repository-contract.ts. Every method
 * that writes has written durably when it resolves, and replicas share nothing else.
 */
export interface Repository {
  /**
   * Keeps it, unless its nonce was used, or its source has too many that wait. If there are too many of all, the oldest of
   * the source that has most makes room, unless that has no more than the new one's source would.
   */
  addPending(
    pending: PendingEnrolment,
    bounds: { readonly pending: number; readonly perSource: number },
    nowMs: number,
  ): Promise<'added' | 'used' | 'full'>
  pending(id: string, nowMs: number): Promise<PendingEnrolment | undefined>
  instance(iid: string): Promise<EnrolledInstance | undefined>
  /** Those of the same iid, instance id, EK or AK, evicted ones too. */
  related(keys: InstanceKeysKnown): Promise<readonly EnrolledInstance[]>
  /** In the order of their iids, from behind `after` on. */
  instances(after: string, count: number): Promise<readonly EnrolledInstance[]>
  /**
   * An instance that is written in another state than `active` has the index revoked that its tokens have.
   *
   * @returns false, and nothing was written, if one of the instances or the pending enrolment has changed meanwhile
   * @throws MetabindError ENROL_CROWDED, and nothing was written, if there are too many strangers
   */
  commit(change: Change, nowMs: number): Promise<boolean>
  /** How many instances are in which state; one in which none is may be left out. */
  states(): Promise<ReadonlyMap<string, number>>
  /** In the order of their times. */
  signingKeys(): Promise<readonly StoredSigningKey[]>
  /** @returns false if there is one of its kind already that starts later than `after` */
  addSigningKey(key: StoredSigningKey, afterMs: number): Promise<boolean>
  removeSigningKeys(kids: readonly string[]): Promise<void>
  /** Remembers its id until it expires. @returns false if that was taken before */
  takeOnce(once: Once, nowMs: number): Promise<boolean>
  /** Remembers an id until then, whether it was taken before or not. */
  keepUntil(id: string, expiresAtMs: number): Promise<void>
  /** Until when an id is remembered, in ms; undefined if it is not. */
  keptUntil(id: string): Promise<number | undefined>
  /** The same, and counts it. @returns false if the id was taken before */
  exchange(exchanged: Exchanged, nowMs: number): Promise<boolean>
  /**
   * By which index the tokens of an instance are in the status list: the same until it is revoked. An index is given to
   * another instance when it was revoked STATUS_KEPT_MS ago.
   *
   * @returns undefined if the instance is not active
   */
  statusIndex(iid: string, nowMs: number): Promise<number | undefined>
  statuses(): Promise<Statuses>
  /** For whom an instance was given tokens. */
  uses(iid: string): Promise<readonly AudienceUse[]>
  /** Lines of the chain in the form of src/audit/chain.ts, from behind a number on. The first is `chain.start`. */
  events(afterSeq: number, count: number): Promise<readonly string[]>
  /** @returns false if there is one of its event by its keys already */
  addCheckpoint(checkpoint: StoredCheckpoint): Promise<boolean>
  /** In the order in which they were added, which is that of their numbers, from behind one on. */
  checkpoints(afterNumber: number, count: number): Promise<readonly NumberedCheckpoint[]>
  /** The one that was added last. */
  lastCheckpoint(): Promise<NumberedCheckpoint | undefined>
  close(): Promise<void>
}
