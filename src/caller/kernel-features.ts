import { release } from 'node:os'

/**
 * What of Linux metabind uses beyond what every kernel since 4.18 has, and what is lost without it. The
 * versions are those of kernel.org; a distribution may have brought a feature to an older kernel.
 */
export const KERNEL_FEATURES = {
  pidfdOpen: {
    is: 'pidfd_open(2)',
    since: [5, 3],
    without:
      'a caller on the socket is told from a later process with its pid by the start time alone',
  },
  socketCgroup: {
    is: 'the cgroup of a TCP socket (INET_DIAG_CGROUP_ID)',
    since: [5, 8],
    without: 'lockdown and credentials URLs cannot tell who calls, and are refused',
  },
  peerPidfd: {
    is: 'SO_PEERPIDFD',
    since: [6, 5],
    without:
      'of a caller that connects and ends at once, another process of the same user with its pid may be read',
  },
} as const satisfies Readonly<Record<string, KernelFeature>>

interface KernelFeature {
  readonly is: string
  readonly since: readonly [major: number, minor: number]
  /** What does not hold on an older kernel. */
  readonly without: string
}

export type KernelFeatureName = keyof typeof KERNEL_FEATURES

/** @param kernel as uname(2) says it, such as `5.10.0-28-amd64` */
export function kernelHas(name: KernelFeatureName, kernel = release()): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernel) ?? []
  const [sinceMajor, sinceMinor] = KERNEL_FEATURES[name].since
  if (Number(major) !== sinceMajor) return Number(major) > sinceMajor
  return Number(minor) >= sinceMinor
}
