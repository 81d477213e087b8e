import { LinuxError } from './error.ts'
import { koffi } from './foreign.ts'

/** EVP_MD_size(EVP_sha256()) */
const MAC_BYTES = 32

// The OpenSSL that Node itself computes with: its symbols are exported for addons.
const program = koffi.load(null)
const sha256 = program.func('void *EVP_sha256()')()
const hmac = program.func(
  'void *HMAC(void *evp_md, const void *key, int key_len, const void *data, size_t data_len, void *md, void *md_len)',
)

/**
 * HMAC with SHA-256 (RFC 2104), by OpenSSL's HMAC(3). node:crypto has it only with an object for each MAC, which costs
 * several times what the MAC does: it is made, kept beyond the next collection and ended by another.
 *
 * @throws LinuxError EINVAL if OpenSSL makes none
 */
export function hmacSha256(key: Uint8Array, data: Uint8Array): Buffer {
  const mac = Buffer.allocUnsafe(MAC_BYTES)
  if (hmac(sha256, key, key.length, data, data.length, mac, null) === null) {
    throw new LinuxError('HMAC', 'EINVAL')
  }
  return mac
}
