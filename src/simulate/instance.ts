/**
 * The facts about one simulated instance.
 *
 * Everything is derived from the instance id by hashing: the same id gives the same instance
 * again, and two ids give two instances that differ in every value a client might compare.
 * Addresses and domains come from the documentation ranges (RFC 5737, RFC 3849, RFC 2606).
 */
import { createHash, randomBytes } from 'node:crypto'

export interface Instance {
  readonly instanceId: string
  readonly regionId: string
  readonly zoneId: string
  readonly serialNumber: string
  readonly ownerAccountId: string
  readonly imageId: string
  readonly instanceType: string
  readonly hostname: string
  readonly mac: string
  readonly privateIpv4: string
  readonly publicIpv4: string
  readonly elasticIpv4: string
  readonly ipv6: string
  readonly vpcId: string
  readonly vswitchId: string
  readonly networkInterfaceId: string
  readonly diskSerial: string
  readonly diskId: string
  readonly opensshKey: string
}

export function describeInstance(instanceId: string, regionId: string, zoneId: string): Instance {
  const derive = (field: string) => createHash('sha256').update(`${instanceId}/${field}`).digest()
  const resourceId = (prefix: string, field: string) => `${prefix}-bp1${base36(derive(field), 17)}`
  return {
    instanceId,
    regionId,
    zoneId,
    serialNumber: uuid(derive('serial-number')),
    ownerAccountId: decimal(derive('owner-account-id'), 16),
    imageId: 'aliyun_3_x64_20G_alibase_20210425.vhd',
    instanceType: 'ecs.g7.xlarge',
    hostname: `iZbp1${base36(derive('hostname'), 16)}Z`,
    mac: `00:16:3e:${[...derive('mac').subarray(0, 3)].map(hexByte).join(':')}`,
    privateIpv4: `192.0.2.${hostNumber(derive('private-ipv4'))}`,
    publicIpv4: `198.51.100.${hostNumber(derive('public-ipv4'))}`,
    elasticIpv4: `203.0.113.${hostNumber(derive('eipv4'))}`,
    ipv6: `2001:db8::${derive('ipv6').readUInt16BE().toString(16)}`,
    vpcId: resourceId('vpc', 'vpc-id'),
    vswitchId: resourceId('vsw', 'vswitch-id'),
    networkInterfaceId: resourceId('eni', 'network-interface-id'),
    diskSerial: `bp1${base36(derive('disk'), 17)}`,
    diskId: `d-bp1${base36(derive('disk'), 17)}`,
    opensshKey: opensshKey(derive('openssh-key')),
  }
}

export function randomInstanceId(): string {
  return `i-bp1${base36(randomBytes(32), 17)}`
}

function base36(bytes: Buffer, length: number): string {
  return BigInt(`0x${bytes.toString('hex')}`)
    .toString(36)
    .padStart(length, '0')
    .slice(-length)
}

function decimal(bytes: Buffer, length: number): string {
  return `1${BigInt(`0x${bytes.toString('hex')}`)
    .toString()
    .slice(-(length - 1))}`
}

function uuid(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)]
  return [...groups, hex.slice(20, 32)].join('-')
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

/** 1 to 120: inside the /25 of the simulated vSwitch, and neither its gateway nor its broadcast. */
function hostNumber(bytes: Buffer): number {
  return 1 + (bytes.readUInt8() % 120)
}

/** A well-formed Ed25519 key line (RFC 8709) whose private half nobody has. */
function opensshKey(publicKey: Buffer): string {
  const name = Buffer.from('ssh-ed25519')
  const blob = Buffer.concat([uint32(name.length), name, uint32(publicKey.length), publicKey])
  return `ssh-ed25519 ${blob.toString('base64')} simulated`
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
