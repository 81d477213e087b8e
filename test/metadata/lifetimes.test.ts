import { describe, expect, test } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { ec2 } from '../../src/dialect/ec2.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { ofPath } from '../../src/metadata/target.ts'

describe('the class of a path', () => {
  const classOf = lifetimesBy(aliyun.lifetimes)
  const cases = [
    ['/latest/meta-data/instance-id', 'boot'],
    ['/2016-01-01/meta-data/instance-id', 'boot'],
    ['/latest/meta-data/instance-id/more', 'short'],
    ['/latest/meta-data/instance-idx', 'short'],
    ['/latest/meta-data', 'short'],
    ['/latest/meta-data/ram/security-credentials', 'short'],
    ['/latest/meta-data/ram/security-credentials/app', 'credentials'],
    ['/latest/meta-data/ram/security-credentials/app/x', 'short'],
    ['/latest/meta-data/network', 'short'],
    ['/latest/meta-data/network/interfaces', 'brief'],
    ['/latest/meta-data/network/interfaces/macs/00:16:3e:00:00:01/private-ipv4s', 'brief'],
    ['/latest/meta-data/instance/spot', 'brief'],
    ['/latest/meta-data/instance/spot/termination-time', 'brief'],
    ['/latest/maintenance/active-system-events', 'brief'],
    ['/latest/dynamic/instance-identity/pkcs7', 'short'],
    ['/latest/user-data', 'short'],
    ['/', 'short'],
  ] as const
  for (const [path, name] of cases) {
    test(`${path}: ${name}`, () => expect(classOf(ofPath(path))).toBe(name))
  }
  const classOfEc2 = lifetimesBy(ec2.lifetimes)
  const ec2Cases = [
    ['/latest/meta-data/network/interfaces/macs', 'brief'],
    ['/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/local-ipv4s', 'brief'],
    ['/latest/meta-data/managed-ssh-keys/active-keys/user', 'brief'],
    ['/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance', 'credentials'],
    ['/latest/meta-data/identity-credentials/ec2/info', 'short'],
    ['/latest/meta-data/iam/security-credentials', 'short'],
    ['/latest/meta-data/instance-action', 'brief'],
  ] as const
  for (const [path, name] of ec2Cases) {
    test(`${path} of EC2: ${name}`, () => expect(classOfEc2(ofPath(path))).toBe(name))
  }
  test('with a query: once', () => {
    expect(classOf({ path: '/latest/dynamic/instance-identity/pkcs7', query: 'audience=x' })).toBe(
      'once',
    )
    expect(classOf({ path: '/latest/meta-data/instance-id', query: 'audience=x' })).toBe('once')
  })
})
