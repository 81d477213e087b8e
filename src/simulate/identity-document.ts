import type { Instance } from './instance.ts'

/**
 * The instance identity document: one line, no blanks, keys in the order of the vendor's sample
 * (ECS user guide, "Instance identity"). An audience is the last member of what PKCS7 signs.
 */
export function identityDocument(instance: Instance, audience?: string): string {
  return JSON.stringify({
    'zone-id': instance.zoneId,
    'serial-number': instance.serialNumber,
    'instance-id': instance.instanceId,
    'region-id': instance.regionId,
    'private-ipv4': instance.privateIpv4,
    'owner-account-id': instance.ownerAccountId,
    mac: instance.mac,
    'image-id': instance.imageId,
    'instance-type': instance.instanceType,
    audience,
  })
}
