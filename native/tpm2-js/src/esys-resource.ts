import { decode } from './foreign.ts'
import { freeCleared } from './native-memory.ts'
import { errorOfRc } from './tpm-error.ts'
import { tssLibraries } from './tss-libraries.ts'

/**
 * What ESAPI knows of an object or session. Where there is no function to ask, it is read from
 * Esys_TR_Serialize, which writes the same fields in 2.3.0 to 4.2.0 (src/tss2-esys/esys_mu.c of tpm2-tss).
 */

/** The handle that the TPM has given to an object or session. */
export function tpmHandleOf(esys: bigint, tr: number): number {
  const tss = tssLibraries()
  if (tss.Esys_TR_GetTpmHandle === undefined) {
    return serialized(esys, tr, (wire) => wire.readUInt32BE(0))
  }
  const handle: [number] = [0]
  const rc: number = tss.Esys_TR_GetTpmHandle(esys, tr, handle)
  if (rc !== 0) throw errorOfRc('Esys_TR_GetTpmHandle', rc, tss.Tss2_RC_Decode(rc))
  return handle[0]
}

/** Length of the key of a session without parameter encryption: 0 unless it is salted or bound. */
export function sessionKeyBytes(esys: bigint, session: number): number {
  return serialized(esys, session, (wire) => {
    let at = 4 // handle
    const skipSized = () => {
      at += 2 + wire.readUInt16BE(at)
    }
    skipSized() // name
    at += 4 // kind of resource
    for (let sized = 0; sized < 3; sized++) skipSized() // bound entity, encrypted salt, salt
    at += 2 + 2 // symmetric: TPM_ALG_NULL; authHash
    return wire.readUInt16BE(at)
  })
}

/** Lends the serialized form of an object or session, and clears it: that of a session has its keys. */
function serialized<T>(esys: bigint, tr: number, use: (wire: Buffer) => T): T {
  const tss = tssLibraries()
  const cell: [bigint] = [0n]
  const bytes: [number] = [0]
  const rc: number = tss.Esys_TR_Serialize(esys, tr, cell, bytes)
  if (rc !== 0) throw errorOfRc('Esys_TR_Serialize', rc, tss.Tss2_RC_Decode(rc))
  const wire = Buffer.from(decode(cell[0], 'uint8_t', Number(bytes[0])))
  try {
    return use(wire)
  } finally {
    wire.fill(0)
    freeCleared(cell[0])
  }
}
