import { MetabindError } from '../errors.ts'
import { CERTIFICATE_BYTES_MAX, CERTIFICATES_MAX } from '../format/evidence.ts'

/**
 * The certificates in the bytes of NV indices: one EK certificate, or the issuers' chain, which is
 * DER after DER over several indices that are read as one (EK credential profile 2.5, 2.2.1.5).
 * Some TPMs put a PC Client header in front of one certificate; NV space that is not used follows as 00
 * or FF.
 *
 * @throws MetabindError VERIFY_CERTIFICATE if the bytes are something else
 */
export function certificatesOfNv(bytes: Uint8Array): Buffer[] {
  let rest = withoutHeader(Buffer.from(bytes))
  const found: Buffer[] = []
  while (rest.length > 0 && !isPadding(rest)) {
    const length = derLength(rest)
    if (
      length > rest.length ||
      length > CERTIFICATE_BYTES_MAX ||
      found.length >= CERTIFICATES_MAX
    ) {
      throw new MetabindError('VERIFY_CERTIFICATE', 'NV holds no certificates of a usable size.')
    }
    found.push(rest.subarray(0, length))
    rest = rest.subarray(length)
  }
  return found
}

/**
 * TCG_PCCLIENT_STORED_CERT: tag 0x1001, type 0 (full certificate), u16 length of what follows; then, from
 * some makers, the tag 0x1002 of TCG_FULL_CERT, which the length may count or not (TCG PC Client Specific
 * Implementation Specification). The certificate says its own length.
 */
function withoutHeader(bytes: Buffer): Buffer {
  if (bytes.length < 7 || bytes.readUIntBE(0, 3) !== 0x100100) return bytes
  const certificate = bytes.subarray(bytes.readUInt16BE(5) === 0x1002 ? 7 : 5)
  return certificate.subarray(0, derLength(certificate))
}

function isPadding(bytes: Buffer): boolean {
  const [first] = bytes
  return (first === 0x00 || first === 0xff) && bytes.every((byte) => byte === first)
}

/** Length of the DER SEQUENCE that `bytes` begins with, its header included. */
function derLength(bytes: Buffer): number {
  if (bytes.length < 4 || bytes.readUInt8(0) !== 0x30) {
    throw new MetabindError('VERIFY_CERTIFICATE', 'NV holds something that is no certificate.')
  }
  const first = bytes.readUInt8(1)
  if (first === 0x82) return 4 + bytes.readUInt16BE(2)
  if (first === 0x81) return 3 + bytes.readUInt8(2)
  if (first < 0x80) return 2 + first
  throw new MetabindError('VERIFY_CERTIFICATE', 'NV holds a certificate of unusable length.')
}
