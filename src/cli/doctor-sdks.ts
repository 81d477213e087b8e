import { spawnSync } from 'node:child_process'
import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { nestsDeeperThan } from '../format/json-depth.ts'
import type { Finding, Installation } from './doctor-finding.ts'
import { readSmallFile } from './files.ts'

const SDK_CONFIG = '.aliyun/config.json'
const SDK_CONFIG_BYTES_MAX = 1_048_576
const SDK_CONFIG_DEPTH_MAX = 100
/** The first release whose AliYun data source uses tokens (vendor's documentation). */
const CLOUD_INIT_WITH_TOKENS = [23, 2, 2]

const sdkConfig = z.object({
  profiles: z.array(
    z.object({
      name: z.string().optional(),
      mode: z.string().optional(),
      process_command: z.string().optional(),
      sts_token: z.string().optional(),
    }),
  ),
})

/**
 * The SDKs write what a process_command printed into the configuration that names it, secret and
 * all, wherever they can. A file that belongs to root and that the user can only read stays clean.
 */
export async function checkSdkConfigurations(installation: Installation): Promise<Finding[]> {
  const paths = homesOf(installation).map((home) => join(home, SDK_CONFIG))
  return (await Promise.all(paths.map(sdkFindings))).flat()
}

async function sdkFindings(path: string): Promise<Finding[]> {
  const external = (await profilesIn(path)).filter(({ mode }) => mode === 'External')
  if (external.length === 0) return []
  const findings: Finding[] = []
  if (external.some(({ sts_token }) => sts_token !== undefined && sts_token !== '')) {
    const says = `${path} holds credentials that an SDK has written into it.`
    const remedy =
      'Take access_key_id, access_key_secret and sts_token out of its External profiles.'
    findings.push({ id: 'sdk-secret-on-disk', weight: 'risk', says, remedy })
  }
  if (isWritable(path)) {
    const says = `${path} has a process_command, and the SDK can write credentials into it.`
    // As its owner first, and -h: what lies in a user's folder may be a link by the time root acts.
    const asOwner = `runuser -u "$(stat -c %U ${path})" --`
    const remedy = `${asOwner} chmod 0640 ${path} && chown -h root ${path}`
    findings.push({ id: 'sdk-configuration-writable', weight: 'risk', says, remedy })
  }
  return findings
}

/** By anybody but root: the owner, who could also give himself the right, the group or others. */
function isWritable(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat !== undefined && (stat.uid !== 0 || (stat.mode & 0o022) !== 0)
}

/** Root reads here what any user may have put in its place: a pipe, a device, a link to others' files. */
async function profilesIn(path: string): Promise<z.infer<typeof sdkConfig>['profiles']> {
  try {
    const text = await readSmallFile(path, SDK_CONFIG_BYTES_MAX)
    if (nestsDeeperThan(SDK_CONFIG_DEPTH_MAX, Buffer.from(text))) return []
    return sdkConfig.parse(JSON.parse(text)).profiles
  } catch {
    // None, not readable, not a file, or not in a form that an SDK would use either.
    return []
  }
}

/** As root, the home of every user; else one's own. */
function homesOf({ home, isRoot }: Installation): string[] {
  const homes = new Set(home === undefined ? [] : [home])
  const passwd = isRoot ? readFileSync('/etc/passwd', 'utf8') : ''
  for (const line of passwd.split('\n')) {
    const directory = line.split(':')[5]
    if (directory?.startsWith('/') && directory !== '/nonexistent') homes.add(directory)
  }
  return [...homes]
}

/** Older cloud-init reads without tokens, and fails if the console requires them. */
export function checkCloudInit(): Finding[] {
  const asked = spawnSync('cloud-init', ['--version'], { encoding: 'utf8', timeout: 10_000 })
  const version = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(`${asked.stdout ?? ''}${asked.stderr ?? ''}`)
  if (asked.error !== undefined || version === null) return []
  const parts = version.slice(1).map((part) => Number(part ?? 0))
  if (!isOlder(parts, CLOUD_INIT_WITH_TOKENS)) return []
  const says = `cloud-init ${version[0]} reads the metadata service of Alibaba Cloud without tokens.`
  const remedy = 'Upgrade it to 23.2.2 or later before tokens are required in the console.'
  return [{ id: 'cloud-init-without-tokens', weight: 'hint', says, remedy }]
}

function isOlder(version: readonly number[], than: readonly number[]): boolean {
  for (const [at, part] of than.entries()) {
    const own = version[at] ?? 0
    if (own !== part) return own < part
  }
  return false
}
