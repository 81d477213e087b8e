import { readFileSync } from 'node:fs'
import { serviceOf } from '../lockdown/plan.ts'
import { isRouteRefused } from '../lockdown/proc-net-route.ts'
import { configOf, type Finding, type Installation } from './doctor-finding.ts'

/**
 * systemd's locked mode closes the way to the metadata service by a route. Whether the agent has a way
 * around it only its user could tell, so this is a hint.
 */
export function checkRoute(installation: Installation): Finding[] {
  const config = configOf(installation)
  if (config === undefined) return []
  const { host } = serviceOf(config)
  if (!isRouteRefused(routes(), host)) return []
  const says = `A route refuses packets to ${host}, as systemd.imds.network=locked makes it.`
  const remedy =
    "The agent's user needs a routing rule, and lockdown redirects nobody; see docs/migration.md."
  return [{ id: 'service-route-refused', weight: 'hint', says, remedy }]
}

/** None if the kernel has no IPv4. */
function routes(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8')
  } catch {
    return ''
  }
}
