import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import { TpmError, type TpmErrorCode } from './tpm-error.ts'

/**
 * Rule: the transport is always named. An empty configuration makes tctildr try a list that ends
 * with simulators on localhost, where any local user could listen and be "the TPM".
 */

/** A transport configuration that was checked and may be given to Tss2_TctiLdr_Initialize. */
export interface Tcti {
  readonly conf: string
  /** The file behind the transport, if there is one to look at first. */
  readonly file: { readonly kind: 'device' | 'socket'; readonly path: string } | undefined
}

/** sockaddr_un.sun_path holds 108 bytes with its terminating NUL (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107

/** @throws TpmError TPM_TCTI_UNNAMED when empty or absent, TPM_TCTI_INVALID when not understood. */
export function parseTcti(conf: unknown): Tcti {
  if (conf === undefined || conf === null || conf === '') {
    throw new TpmError('TPM_TCTI_UNNAMED', 'a TCTI must be named, for example device:/dev/tpmrm0')
  }
  if (typeof conf !== 'string' || conf.includes('\0')) throw invalid(conf, 'not a plain string')
  const [, name, rest = ''] = /^([a-z]+)(?::(.*))?$/s.exec(conf) ?? []
  if (name === 'device') return { conf, file: { kind: 'device', path: absolute(conf, rest) } }
  if (name === 'swtpm' && rest.startsWith('path=')) return socketTcti(conf, rest.slice(5))
  if (name === 'swtpm' || name === 'mssim') return networkTcti(conf, rest)
  if (name === 'tabrmd') return { conf, file: undefined }
  throw invalid(conf, 'expected device:, swtpm:, mssim: or tabrmd')
}

function socketTcti(conf: string, path: string): Tcti {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX || path.includes(',')) {
    throw invalid(conf, `a socket path has at most ${SOCKET_PATH_BYTES_MAX} bytes and no comma`)
  }
  return { conf, file: { kind: 'socket', path: absolute(conf, path) } }
}

function networkTcti(conf: string, rest: string): Tcti {
  if (!/^host=[^,=\s]+,port=\d{1,5}$/.test(rest)) throw invalid(conf, 'expected host=…,port=…')
  return { conf, file: undefined }
}

function absolute(conf: string, path: string): string {
  if (!path.startsWith('/')) throw invalid(conf, 'expected an absolute path')
  return path
}

function invalid(conf: unknown, reason: string): TpmError {
  return new TpmError('TPM_TCTI_INVALID', `TCTI ${JSON.stringify(conf)}: ${reason}`)
}

/**
 * Looks at the file behind a transport, because tctildr reports one and the same I/O error for a
 * TPM that is absent, forbidden or held by somebody else.
 *
 * @throws TpmError TPM_ABSENT, TPM_NOT_PERMITTED, TPM_BUSY or TPM_TCTI_INVALID
 */
export async function checkReachable(tcti: Tcti): Promise<void> {
  if (tcti.file === undefined) return
  const { kind, path } = tcti.file
  try {
    await (kind === 'device' ? checkDevice(path) : checkSocket(path))
  } catch (cause) {
    if (cause instanceof TpmError) throw cause
    throw new TpmError(codeOfErrno(cause), `cannot reach the TPM at ${path}`, { cause })
  }
}

async function checkDevice(path: string): Promise<void> {
  const status = await stat(path)
  if (!status.isCharacterDevice()) throw invalid(path, 'not a character device')
  // /dev/tpm0 can be held by one process only: opening it is the only way to learn that (EBUSY).
  const handle = await open(path, constants.O_RDWR | constants.O_NONBLOCK)
  await handle.close()
}

async function checkSocket(path: string): Promise<void> {
  const status = await stat(path)
  if (!status.isSocket()) throw invalid(path, 'not a socket')
  await access(path, constants.R_OK | constants.W_OK)
}

function codeOfErrno(cause: unknown): TpmErrorCode {
  const errno = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (errno === 'EACCES' || errno === 'EPERM') return 'TPM_NOT_PERMITTED'
  if (errno === 'EBUSY') return 'TPM_BUSY'
  if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ENODEV' || errno === 'ENXIO') {
    return 'TPM_ABSENT'
  }
  return 'TPM_TRANSPORT'
}
