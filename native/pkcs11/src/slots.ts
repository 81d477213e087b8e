import type { Cryptoki } from './cryptoki.ts'
import { Pkcs11Error } from './pkcs11-error.ts'

const SLOTS_MAX = 64
const CK_TRUE = 1

/** struct CK_TOKEN_INFO (PKCS #11 v2.40, 3.2): label, and behind three more texts the flags. */
const TOKEN_INFO_BYTES = 208
const LABEL_BYTES = 32
const FLAGS_AT = 96
const CKF_USER_PIN_FINAL_TRY = 0x20000n
const CKF_USER_PIN_LOCKED = 0x40000n

/** What a token says of its PIN before it is asked with one. */
export type PinState = 'open' | 'final' | 'locked'

/** @throws Pkcs11Error PKCS11_TOKEN if no token has the label, or more than one */
export async function slotOf(cryptoki: Cryptoki, label: string): Promise<bigint> {
  const found: bigint[] = []
  for (const slot of await slotsWithToken(cryptoki)) {
    if ((await tokenInfo(cryptoki, slot))?.label === label) found.push(slot)
  }
  const [slot, other] = found
  if (slot === undefined) throw new Pkcs11Error('PKCS11_TOKEN', 'no token has this label')
  if (other !== undefined) throw new Pkcs11Error('PKCS11_TOKEN', 'several tokens have this label')
  return slot
}

/** Whether a wrong PIN would lock it. */
export async function pinStateOf(cryptoki: Cryptoki, slot: bigint): Promise<PinState> {
  const flags = (await tokenInfo(cryptoki, slot))?.flags ?? 0n
  if ((flags & CKF_USER_PIN_LOCKED) !== 0n) return 'locked'
  return (flags & CKF_USER_PIN_FINAL_TRY) === 0n ? 'open' : 'final'
}

async function slotsWithToken(cryptoki: Cryptoki): Promise<readonly bigint[]> {
  const slots = new BigUint64Array(SLOTS_MAX)
  const count = BigUint64Array.of(BigInt(SLOTS_MAX))
  await cryptoki.call('C_GetSlotList', CK_TRUE, slots, count)
  return [...slots.subarray(0, Math.min(SLOTS_MAX, Number(count[0])))]
}

/** @returns undefined if the token was taken out meanwhile, or is one that the module cannot read */
async function tokenInfo(cryptoki: Cryptoki, slot: bigint) {
  // A module of a later version may know more of it.
  const info = Buffer.alloc(2 * TOKEN_INFO_BYTES)
  try {
    await cryptoki.call('C_GetTokenInfo', slot, info)
  } catch (error) {
    if (error instanceof Pkcs11Error && error.code === 'PKCS11_CKR') return undefined
    throw error
  }
  const label = info.subarray(0, LABEL_BYTES).toString('utf8').replace(/ +$/, '')
  const [flags = 0n] = new BigUint64Array(info.buffer, info.byteOffset + FLAGS_AT, 1)
  return { label, flags }
}
