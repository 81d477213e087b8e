import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { get } from './request.ts'

const DATA = Buffer.from([0x1f, 0x8b, 0x00, 0xff, 0x0a])
let simulator: Simulator
beforeAll(async () => {
  simulator = await startSimulator({
    role: 'EcsRole',
    tokens: 'optional',
    tags: { stage: 'test', ['__proto__']: 'a name like any other' },
    spotTerminationTime: '2020-04-07T17:03:00Z',
    userData: DATA,
    vendorData: Buffer.from('vendor\n'),
  })
})
afterAll(() => simulator.close())

const read = async (path: string) => (await get(simulator.url, path)).body

/** All leaves below a directory, found by following its listings. */
async function walk(path: string): Promise<Map<string, string>> {
  const leaves = new Map<string, string>()
  for (const name of (await read(path)).split('\n')) {
    const below = path + name
    const found = name.endsWith('/') ? await walk(below) : new Map([[below, await read(below)]])
    for (const [leaf, body] of found) leaves.set(leaf, body)
  }
  return leaves
}

/** Every leaf of the documented tree, with the shape of its value. */
function documentedLeaves(mac: string, diskSerial: string): Record<string, RegExp> {
  const nic = `meta-data/network/interfaces/macs/${mac}`
  const cidr = /^192\.0\.2\.0\/2[45]$/
  const address = /^(192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}$/
  return {
    'dynamic/instance-identity/document': /^\{"zone-id":.*"\}$/,
    'dynamic/instance-identity/pkcs7': /^[A-Za-z0-9+/]+=*$/,
    'maintenance/active-system-events': /^None$/,
    [`meta-data/disks/${diskSerial}/id`]: /^d-bp/,
    [`meta-data/disks/${diskSerial}/name`]: /./,
    'meta-data/dns-conf/nameservers': /^[\d.]+\n[\d.]+$/,
    'meta-data/eipv4': address,
    'meta-data/hibernation/configured': /^false$/,
    'meta-data/hostname': /^iZbp1[0-9a-z]{16}Z$/,
    'meta-data/image-id': /\.vhd$/,
    'meta-data/image/market-place/charge-type': /^PrePaid$/,
    'meta-data/image/market-place/product-code': /^cmjj/,
    'meta-data/instance-id': /^i-bp1[0-9a-z]{17}$/,
    'meta-data/instance/instance-name': /./,
    'meta-data/instance/instance-type': /^ecs\./,
    'meta-data/instance/last-host-landing-time': /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/,
    'meta-data/instance/max-netbw-egress': /^\d+$/,
    'meta-data/instance/max-netbw-ingress': /^\d+$/,
    'meta-data/instance/spot/termination-time': /^2020-04-07T17:03:00Z$/,
    'meta-data/instance/virtualization-solution': /^ECS Virt$/,
    'meta-data/instance/virtualization-solution-version': /^2\.0$/,
    'meta-data/kms-server': /example\.com$/,
    'meta-data/mac': /^00:16:3e(:[0-9a-f]{2}){3}$/,
    'meta-data/network-type': /^vpc$/,
    [`${nic}/gateway`]: address,
    [`${nic}/ipv4-prefixes`]: /^\["192\.0\.2\.64\/28"\]$/,
    [`${nic}/ipv6-gateway`]: /^2001:db8:/,
    [`${nic}/ipv6-prefixes`]: /^\["2001:db8:/,
    [`${nic}/ipv6s`]: /^\[2001:db8::[0-9a-f]+\]$/,
    [`${nic}/netmask`]: /^255\./,
    [`${nic}/network-interface-id`]: /^eni-bp/,
    [`${nic}/primary-ip-address`]: address,
    [`${nic}/private-ipv4s`]: /^\["192\.0\.2\.\d+"\]$/,
    [`${nic}/vpc-cidr-block`]: cidr,
    [`${nic}/vpc-id`]: /^vpc-bp/,
    [`${nic}/vpc-ipv6-cidr-blocks`]: /^\[2001:db8::\/56\]$/,
    [`${nic}/vswitch-cidr-block`]: cidr,
    [`${nic}/vswitch-id`]: /^vsw-bp/,
    [`${nic}/vswitch-ipv6-cidr-block`]: /^2001:db8::\/64$/,
    'meta-data/ntp-conf/ntp-servers': /^\S+\n\S+$/,
    'meta-data/owner-account-id': /^\d{16}$/,
    'meta-data/private-ipv4': address,
    'meta-data/public-ipv4': address,
    'meta-data/public-keys/0/openssh-key': /^ssh-ed25519 AAAA/,
    'meta-data/ram/security-credentials/EcsRole': /^\{\n/,
    'meta-data/region-id': /^cn-hangzhou$/,
    'meta-data/serial-number': /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    'meta-data/sub-private-ipv4-list': address,
    'meta-data/tags/instance/__proto__': /^a name like any other$/,
    'meta-data/tags/instance/stage': /^test$/,
    'meta-data/vpc-cidr-block': cidr,
    'meta-data/vpc-id': /^vpc-bp/,
    'meta-data/vswitch-cidr-block': cidr,
    'meta-data/vswitch-id': /^vsw-bp/,
    'meta-data/wsus-server/wu-server': /^http/,
    'meta-data/wsus-server/wu-status-server': /^http/,
    'meta-data/zone-id': /^cn-hangzhou-i$/,
    'user-data': /\n$/,
    'vendor-data': /^vendor\n$/,
  }
}

describe.each(['2016-01-01', 'latest'])('version %s', (version) => {
  test('the listings lead to exactly the documented leaves', async () => {
    const leaves = await walk(`/${version}/`)
    const disk = await read(`/${version}/meta-data/disks/`)
    const mac = await read(`/${version}/meta-data/mac`)
    const documented = documentedLeaves(mac, disk.slice(0, -1))
    const names = [...leaves.keys()].map((path) => path.slice(version.length + 2))
    expect(names.sort()).toEqual(Object.keys(documented).sort())
    for (const [path, shape] of Object.entries(documented)) {
      expect([path, leaves.get(`/${version}/${path}`)]).toEqual([
        path,
        expect.stringMatching(shape),
      ])
    }
  })

  test.each(['', '/meta-data', '/meta-data/network', '/meta-data/ram/security-credentials'])(
    'directory %s answers with and without slash',
    async (path) => {
      const without = await get(simulator.url, `/${version}${path}`)
      const withSlash = await get(simulator.url, `/${version}${path}/`)
      expect([without.status, without.body]).toEqual([200, withSlash.body])
    },
  )

  test('user data comes byte for byte', async () => {
    const response = await fetch(`${simulator.url}/${version}/user-data`)
    expect(Buffer.from(await response.arrayBuffer())).toEqual(DATA)
  })
})

test('the root lists the versions', async () => {
  expect(await get(simulator.url, '/')).toMatchObject({
    status: 200,
    body: '2016-01-01\nlatest',
    headers: { 'content-type': 'text/plain' },
  })
})

test('listings are in byte order with the slash counted, without a last LF', async () => {
  const listing = await read('/latest/meta-data/')
  const lines = listing.split('\n')
  expect(lines).toEqual([...lines].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
  expect(lines.indexOf('instance-id')).toBe(lines.indexOf('instance/') - 1)
  expect(lines.indexOf('network-type')).toBe(lines.indexOf('network/') - 1)
  expect(listing).not.toMatch(/\n$/)
})

test('the role listing is the role name and nothing else', async () => {
  expect(await read('/latest/meta-data/ram/security-credentials/')).toBe('EcsRole')
})

test.each([
  '//latest///meta-data//instance-id',
  '/latest/meta-data/instance-id?',
  '/latest/meta-data/instance-id?a=b',
])('%s is the instance id', async (path) => {
  expect(await read(path)).toBe(simulator.instanceId)
})

test.each([
  '/1.0/meta-data/',
  '/latest/meta-data/nothing',
  '/latest/meta-data/instance-id/',
  '/latest/meta-data/instance-id/more',
  '/latest/meta-data/../user-data',
  '/latest/meta-data/%69nstance-id',
  '/latest/meta-data/constructor',
  '/latest/api',
  '/_simulator/faults',
])('%s is 404', async (path) => {
  expect((await get(simulator.url, path)).status).toBe(404)
})

test('meta-data/all is the tree as JSON: lines joined with CR LF, no credentials', async () => {
  const all: Record<string, object> = JSON.parse(await read('/2016-01-01/meta-data/all'))
  const mac = await read('/latest/meta-data/mac')
  const nameservers = await read('/latest/meta-data/dns-conf/nameservers')
  const gateway = await read(`/latest/meta-data/network/interfaces/macs/${mac}/gateway`)
  expect(all).toMatchObject({
    'instance-id': simulator.instanceId,
    'dns-conf': { nameservers: nameservers.replace('\n', '\r\n') },
    network: { interfaces: { macs: { [mac]: { gateway } } } },
  })
  const directories = [...(await read('/latest/meta-data/')).split('\n')]
  const listed = directories.map((name) => name.replace(/\/$/, '')).filter((name) => name !== 'ram')
  expect(Object.keys(all).sort()).toEqual(listed.sort())
})

test('what the instance does not have is 404 and in no listing', async () => {
  await using bare = await startSimulator({ tokens: 'optional' })
  const absent = ['user-data', 'vendor-data', 'meta-data/tags/', 'meta-data/ram/']
  for (const path of [
    ...absent,
    'meta-data/ram/security-credentials/',
    'meta-data/instance/spot/',
  ]) {
    expect([path, (await get(bare.url, `/latest/${path}`)).status]).toEqual([path, 404])
  }
  expect((await get(bare.url, '/latest/')).body).toBe('dynamic/\nmaintenance/\nmeta-data/')
  expect((await get(bare.url, '/latest/meta-data/')).body).not.toMatch(/^(ram|tags)\//m)
})

test('two instances differ where instances differ; one id gives the same instance again', async () => {
  const facts = ['mac', 'serial-number', 'owner-account-id', 'hostname', 'vpc-id', 'vswitch-id']
  const all = async (instanceId?: string) => {
    const options = instanceId === undefined ? {} : { instanceId }
    await using one = await startSimulator({ tokens: 'optional', ...options })
    return await Promise.all(
      facts.map(async (fact) => (await get(one.url, `/latest/meta-data/${fact}`)).body),
    )
  }
  const [a, again, b] = [await all('i-a'), await all('i-a'), await all()]
  expect(again).toEqual(a)
  for (const [i, fact] of facts.entries()) expect([fact, a[i]]).not.toEqual([fact, b[i]])
})

test('region and zone are as given', async () => {
  await using one = await startSimulator({ tokens: 'optional', regionId: 'eu-central-1' })
  expect((await get(one.url, '/latest/meta-data/region-id')).body).toBe('eu-central-1')
  expect((await get(one.url, '/latest/meta-data/zone-id')).body).toBe('eu-central-1-i')
})

test.each([{ role: 'a/b' }, { role: '' }, { tags: { '..': 'x' } }, { tags: { 'a b': 'x' } }])(
  'a name that cannot stand in a path is refused: %j',
  async (options) => {
    await expect(startSimulator(options)).rejects.toThrow('not a name for a metadata path')
  },
)
