import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { cgroupRoot } from '../caller/cgroup-tree.ts'
import { KERNEL_FEATURES, type KernelFeatureName, kernelHas } from '../caller/kernel-features.ts'
import type { Finding } from './doctor-finding.ts'
import { CGROUP_2_KEYS, NEWER_KEYS } from './unit-keys.ts'

/** What is not in force here because the kernel or systemd is older than what it needs. */

const REMEDY =
  'A newer release of the system has it; docs/install.md, "What older releases cannot enforce".'
const SYSTEMCTL_MS = 10_000

/** What of the kernel the agent does without. @param kernel as uname(2) says it */
export function checkKernel(kernel = release()): Finding[] {
  return (Object.keys(KERNEL_FEATURES) as KernelFeatureName[]).flatMap((name) => {
    if (kernelHas(name, kernel)) return []
    const { is, since, without } = KERNEL_FEATURES[name]
    const says = `Linux ${kernel} lacks ${is} of ${since.join('.')}: ${without}.`
    return [{ id: 'kernel-older', weight: 'hint', says, remedy: REMEDY }]
  })
}

/** Which keys of the agent's units are not in force. */
export function checkServiceManager(): Finding[] {
  if (!existsSync('/run/systemd/system')) return []
  const version = systemdVersion()
  const newer = Object.entries(NEWER_KEYS).flatMap(([key, { since, without }]) =>
    version === undefined || version >= since
      ? []
      : [
          {
            id: 'systemd-older',
            says: `systemd ${version} does not know ${key}= of ${since}: ${without}.`,
          },
        ],
  )
  const ofCgroups = keysWithoutCgroup2().map((key) => ({
    id: 'cgroups-older',
    says: `With control groups of version 1 ${key}= is not in force: ${CGROUP_2_KEYS[key]}.`,
  }))
  return [...newer, ...ofCgroups].map((one) => ({ ...one, weight: 'hint', remedy: REMEDY }))
}

function systemdVersion(): number | undefined {
  const asked = spawnSync('systemctl', ['--version'], { encoding: 'utf8', timeout: SYSTEMCTL_MS })
  const [, version] = /^systemd (\d+)/.exec(asked.stdout ?? '') ?? []
  return version === undefined ? undefined : Number(version)
}

/** Where both versions are, systemd filters addresses by the second; memory is where its controller is. */
function keysWithoutCgroup2(): string[] {
  if (cgroupRoot() === undefined) return Object.keys(CGROUP_2_KEYS)
  const isMemoryIn1 = /^\d+:(?:[^:]*,)?memory[,:]/m.test(
    readFileSync('/proc/self/cgroup', 'latin1'),
  )
  return isMemoryIn1 ? ['MemorySwapMax'] : []
}
