/**
 * Where a process stands among systemd's units and in containers, read from its cgroup.
 *
 * What it means as identity: a process can move itself only into cgroups that it may write. Only
 * root and systemd write above a unit, so the unit named here was given to the process from outside,
 * by whoever may start units. What stands below a unit (Delegate=yes, every user's own
 * user@UID.service) is written by that unit's own user: it is never taken for a unit, and a
 * container id that stands there is only as good as that user's word.
 */
export interface CgroupPlace {
  /** The system unit, such as `nginx.service`, `app@1.service`, `user@1000.service`. */
  readonly unit?: string
  /** The innermost slice that the unit is in, such as `system.slice`. */
  readonly slice?: string
  /** The id or name of the outermost container. */
  readonly container?: string
}

// unit_name_is_valid() of systemd, without the types that no process is ever in.
const UNIT = /^[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|scope|socket|mount|swap)$/
const SLICE = /^[A-Za-z0-9:_.\\-]{1,240}\.slice$/
// Docker, containerd, CRI-O, Podman and nerdctl name a container by 64 hex digits, alone or behind
// their own name; under systemd as a scope. conmon is the runtime's process on the host.
const CONTAINER_HEX = /^(?:(?!.*conmon)[a-z][\w.:-]*[-:])?([0-9a-f]{64})(?:\.scope)?$/
const CONTAINER_NAMED =
  /^(?:lxc\.payload\.([\w.-]{1,128})|systemd-nspawn@([A-Za-z0-9:_.\\-]{1,128})\.service)$/
const LXC_PARENT = 'lxc'

/**
 * Reads /proc/PID/cgroup (cgroups(7)): lines `id:controllers:path`. systemd's own hierarchy is the
 * unified one (`0::`) and, on hybrid and legacy systems, the named one (`name=systemd`). If both
 * name a unit and differ, neither is believed.
 *
 * @param text the whole file
 */
export function parseCgroup(text: string): CgroupPlace {
  const places = systemdPaths(text).map(placeOf)
  const units = new Set(places.flatMap(({ unit }) => unit ?? []))
  const container = containerIn(text)
  const named = units.size === 1 ? places.find(({ unit }) => unit !== undefined) : undefined
  return { ...named, ...(container === undefined ? {} : { container }) }
}

function systemdPaths(text: string): string[] {
  return lines(text).flatMap(({ controllers, path }) =>
    controllers === '' || controllers === 'name=systemd' ? [path] : [],
  )
}

/** A path may hold colons itself, so only the first two part a line; and any other byte than a line end. */
function lines(text: string): { controllers: string; path: string }[] {
  return text.split('\n').flatMap((line) => {
    const parts = /^\d+:([^:]*):(\/.*)$/s.exec(line)
    return parts === null ? [] : [{ controllers: parts[1] ?? '', path: parts[2] ?? '' }]
  })
}

/**
 * As sd_pid_get_unit(3): slices, then the unit. A path that begins with `/..` lies outside the
 * cgroup namespace of the agent, where names mean nothing to it.
 */
function placeOf(path: string): Omit<CgroupPlace, 'container'> {
  const segments = segmentsOf(path)
  const at = segments.findIndex((segment) => !SLICE.test(segment))
  const unit = segments[at]
  if (unit === undefined || !UNIT.test(unit)) return {}
  const slice = segments[at - 1]
  return slice === undefined ? { unit } : { unit, slice }
}

/** The outermost container: those further in are named by processes inside it. */
function containerIn(text: string): string | undefined {
  // With cgroups v1 a runtime without systemd shows only in the hierarchies of the controllers.
  for (const { path } of lines(text)) {
    const segments = segmentsOf(path)
    for (const [at, segment] of segments.entries()) {
      const hex = CONTAINER_HEX.exec(segment)
      const name = CONTAINER_NAMED.exec(segment)
      const found = hex?.[1] ?? name?.[1] ?? name?.[2]
      if (found !== undefined) return found
      if (at === 1 && segments[0] === LXC_PARENT) return segment
    }
  }
  return undefined
}

function segmentsOf(path: string): string[] {
  // A name that would clash with a file of the kernel's gets one underscore before it (cg_escape).
  return path
    .slice(1)
    .split('/')
    .map((segment) => (segment.startsWith('_') ? segment.slice(1) : segment))
}
