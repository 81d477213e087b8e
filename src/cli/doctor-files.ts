import { accessSync, constants, existsSync, lstatSync, type Stats } from 'node:fs'
import { dirname, join } from 'node:path'
import { nodeErrorCode } from '../errors.ts'
import { configFilesOf, configOf, type Finding, type Installation } from './doctor-finding.ts'

const OTHERS_WRITE = 0o002
const GROUP_OR_OTHERS = 0o077
const GROUP_OR_OTHERS_WRITE = 0o022

/** Whoever can write the configuration decides where the agent gets its metadata from. */
export function checkConfigMode(installation: Installation): Finding[] {
  return configFilesOf(installation).flatMap((file) => {
    const loose = [file, dirname(file)].find((path) => isLoose(statOf(path)))
    if (loose === undefined) return []
    const says = `${loose} can be written by others than its owner.`
    return [{ id: 'configuration-writable', weight: 'risk', says, remedy: `chmod go-w ${loose}` }]
  })
}

/** /tmp and its like protect what is in them by the sticky bit. */
function isLoose(stat: Stats | undefined): boolean {
  if (stat === undefined || (stat.isDirectory() && (stat.mode & 0o1000) !== 0)) return false
  return (stat.mode & GROUP_OR_OTHERS_WRITE) !== 0
}

/** Applications of every user need the metadata socket; nobody outside a group the admin socket. */
export function checkSocketModes({ sockets }: Installation): Finding[] {
  const findings: Finding[] = []
  const metadata = statOf(sockets.metadata)
  if (metadata !== undefined && (metadata.mode & OTHERS_WRITE) === 0) {
    const says = `${sockets.metadata} is closed to users outside its group.`
    const remedy = 'Where this is not meant, set listen.metadata_mode = "0666"; policy decides.'
    findings.push({ id: 'metadata-socket-closed', weight: 'hint', says, remedy })
  }
  const admin = statOf(sockets.admin)
  if (admin !== undefined && (admin.mode & OTHERS_WRITE) !== 0) {
    const says = `${sockets.admin} is open to every user: anybody can revoke tokens.`
    const remedy = 'Set listen.admin_mode = "0660" and restart the agent.'
    findings.push({ id: 'admin-socket-open', weight: 'risk', says, remedy })
  }
  return findings
}

/** The salt of the token keys must be the agent's alone. */
export function checkRuntimeDirectory(installation: Installation): Finding[] {
  const directory = configOf(installation)?.directories.runtime
  if (directory === undefined) return []
  const stat = statOf(directory)
  const findings: Finding[] = []
  if (stat !== undefined && (stat.mode & GROUP_OR_OTHERS_WRITE) !== 0) {
    const says = `${directory} can be written by others than the agent.`
    const remedy = `chmod go-w ${directory}`
    findings.push({ id: 'runtime-directory-writable', weight: 'risk', says, remedy })
  }
  const salt = join(directory, 'salt')
  const saltStat = statOf(salt)
  if (saltStat !== undefined && (saltStat.mode & GROUP_OR_OTHERS) !== 0) {
    const says = `${salt} can be read by others: with the TPM device they could derive token keys.`
    const remedy = `Remove ${salt} and restart the agent: a new one is made, and all tokens end.`
    findings.push({ id: 'salt-readable', weight: 'risk', says, remedy })
  }
  return findings
}

/** A kernel makes a disk with errors read-only. No agent starts then: what it does could not be recorded. */
export function checkAuditDisk(installation: Installation): Finding[] {
  const file = configOf(installation)?.audit.file
  if (file === undefined || !isReadOnly(existsSync(file) ? file : dirname(file))) return []
  const says = `${file} is on a file system that is read-only: an agent that keeps records there does not start.`
  const remedy = `Look why with dmesg, and mount it to be written, or set audit.file to another place.`
  return [{ id: 'audit-file-read-only', weight: 'broken', says, remedy }]
}

function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return false
  } catch (error) {
    return nodeErrorCode(error) === 'EROFS'
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch {
    // In a directory that this user may not enter.
    return undefined
  }
}
