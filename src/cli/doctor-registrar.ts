import { BlockList, isIPv6 } from 'node:net'
import type { Config } from '../config.ts'
import { DIALECTS } from '../dialect/dialects.ts'
import { endpointOf, parseEndpoint } from '../dialect/endpoint.ts'
import { configOf, type Finding, type Installation } from './doctor-finding.ts'
import { installedSandbox, type UnitSandbox } from './unit-sandbox.ts'

/** Whether the unit lets the agent reach its registrar: as shipped it reaches the metadata service alone. */
export function checkRegistrarSandbox(installation: Installation): Finding[] {
  const config = configOf(installation)
  const sandbox = installedSandbox('/')
  return config === undefined || sandbox === undefined ? [] : sandboxFindings(config, sandbox)
}

const REMEDY =
  'Copy /usr/share/doc/metabind/examples/registrar.conf to /etc/systemd/system/metabindd.service.d/, put the address in it, then systemctl daemon-reload and restart metabindd.'

/** @param sandbox of the unit that is installed */
export function sandboxFindings(
  { registrar, source }: Pick<Config, 'registrar' | 'source'>,
  { addresses, families }: Pick<UnitSandbox, 'addresses' | 'families'>,
): Finding[] {
  if (registrar.url === undefined) return []
  const address = ipOf(registrar.address)
  const why =
    familyMissing(address, families) ??
    (addresses && addressMissing(address, addresses, parseEndpoint(endpointOf(source)).host))
  if (why === undefined) return []
  const says = `The unit of the agent keeps it from ${registrar.url}: ${why}.`
  return [{ id: 'registrar-drop-in', weight: 'broken', says, remedy: REMEDY }]
}

function familyMissing(
  address: string | undefined,
  families: readonly string[],
): string | undefined {
  const isKept = families.length > 0 && !families.includes('AF_INET6')
  return address !== undefined && isIPv6(address) && isKept
    ? 'RestrictAddressFamilies= has no AF_INET6'
    : undefined
}

/** Without an address nobody knows here what the name leads to, but the metadata service it is not. */
function addressMissing(
  address: string | undefined,
  allowed: readonly string[],
  serviceHost: string,
): string | undefined {
  if (address !== undefined) {
    return isAllowed(address, allowed) ? undefined : `IPAddressAllow= does not name ${address}`
  }
  const services = [
    serviceHost,
    ...Object.values(DIALECTS).map(({ endpoint }) => new URL(endpoint).hostname),
  ]
  return allowed.some((one) => !services.includes(one))
    ? undefined
    : 'IPAddressAllow= names nothing but the metadata service'
}

/** What systemd.resource-control(5) has for IPAddressAllow=. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  any: ['0.0.0.0/0', '::/0'],
  localhost: ['127.0.0.0/8', '::1/128'],
  'link-local': ['169.254.0.0/16', 'fe80::/64'],
  multicast: ['224.0.0.0/4', 'ff00::/8'],
}

function isAllowed(address: string, allowed: readonly string[]): boolean {
  const list = new BlockList()
  for (const one of allowed.flatMap((word) => NAMES[word] ?? [word])) {
    const [network = '', prefix] = one.split('/')
    const family = isIPv6(network) ? 'ipv6' : 'ipv4'
    const bits = prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix)
    try {
      list.addSubnet(network, bits, family)
    } catch {
      // systemd passes over it, too.
    }
  }
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/** `IP[:PORT]` or `[IP][:PORT]`, which the configuration has been held to. */
function ipOf(address: string | undefined): string | undefined {
  const [, six, four] = /^(?:\[(.+)\]|([^:]+))(?::[0-9]+)?$/.exec(address ?? '') ?? []
  return six ?? four
}
