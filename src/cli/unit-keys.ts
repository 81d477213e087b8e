/**
 * Since when systemd knows each key of the units and drop-ins that are installed. A release passes over a
 * key that it does not know, with a warning at each reload: what the key is for is then not in force.
 *
 * The versions are those of systemd's NEWS, and of "Added in version" in the manual pages of systemd 257. For
 * ExecPaths= and NoExecPaths= these name the version of the group of keys that they joined in 248.
 */

/** Of RHEL 8 and its relatives, the oldest that the package is for. */
export const OLDEST_SYSTEMD = 239

interface NewerKey {
  readonly since: number
  /** What does not hold on an older systemd. */
  readonly without: string
}

/** Keys that some release lacks on which the package can be installed. */
export const NEWER_KEYS: Readonly<Record<string, NewerKey>> = {
  OpenFile: {
    since: 253,
    without:
      'evidence has the logs that the agent itself may read: none that root alone may, such as those of systemd',
  },
  NoExecPaths: { since: 248, without: 'the agent may execute every program of the system' },
  ExecPaths: { since: 248, without: 'belongs to NoExecPaths=' },
  PrivateIPC: { since: 248, without: 'the agent shares System V IPC with the rest of the system' },
  ProtectClock: {
    since: 245,
    without: 'nothing but the missing privilege keeps the agent from the clock',
  },
  ProtectKernelLogs: {
    since: 244,
    without: "the kernel's log is as open to the agent as to any user",
  },
  ProtectHostname: {
    since: 242,
    without: 'nothing but the missing privilege keeps the agent from the host name',
  },
  RestrictSUIDSGID: { since: 242, without: 'the agent may mark files of its own as set-user-ID' },
  LogRateLimitIntervalSec: {
    since: 240,
    without: "the machine's own limit holds for the agent's log",
  },
  LogRateLimitBurst: { since: 240, without: "the machine's own limit holds for the agent's log" },
}

/** Keys that need cgroups of version 2, whatever the release. */
export const CGROUP_2_KEYS: Readonly<Record<string, string>> = {
  IPAddressAllow: 'belongs to IPAddressDeny=',
  IPAddressDeny: 'the agent speaks to source.endpoint only, but nothing outside it sees to that',
  MemorySwapMax: "the agent's memory, keys too, may be swapped to a disk",
}

/** Keys that every systemd knows on which the package can be installed. */
export const OLD_KEYS: readonly string[] = `
After Also AmbientCapabilities Backlog Before BindPaths CPUAccounting CPUQuota CapabilityBoundingSet
ConfigurationDirectory Conflicts DefaultDependencies Description DeviceAllow DevicePolicy DirectoryMode
Documentation Environment ExecReload ExecStart ExecStop FileDescriptorName Group IPAddressAllow IPAddressDeny KeyringMode
LimitCORE LimitMEMLOCK LimitNOFILE ListenStream LockPersonality LogsDirectory LogsDirectoryMode
MemoryAccounting MemoryMax MemorySwapMax NoNewPrivileges NotifyAccess OOMScoreAdjust PrivateDevices
PrivateMounts PrivateTmp ProtectControlGroups ProtectHome ProtectKernelModules ProtectKernelTunables
ProtectSystem RemainAfterExit RemoveIPC RemoveOnStop Requires Restart RestartSec RestrictAddressFamilies
RestrictNamespaces RestrictRealtime RuntimeDirectory RuntimeDirectoryMode RuntimeDirectoryPreserve Service
SocketGroup SocketMode SocketUser StartLimitIntervalSec StateDirectory StateDirectoryMode SyslogIdentifier
SystemCallArchitectures SystemCallErrorNumber SystemCallFilter TasksMax TimeoutStartSec TimeoutStopSec
Transparent TriggerLimitIntervalSec Type UMask UnsetEnvironment User WantedBy Wants WatchdogSec
`
  .trim()
  .split(/\s+/)
