import { expect, test } from 'vitest'
import { wholePath } from '../../src/sdk/whole-path.ts'

test.each([
  ['instance-id', '/latest/meta-data/instance-id'],
  ['', '/latest/meta-data/'],
  ['ram/security-credentials/', '/latest/meta-data/ram/security-credentials/'],
  ['user-data', '/latest/user-data'],
  ['vendor-data', '/latest/vendor-data'],
  ['meta-data/', '/latest/meta-data/'],
  [
    'dynamic/instance-identity/pkcs7?audience=a',
    '/latest/dynamic/instance-identity/pkcs7?audience=a',
  ],
  ['maintenance/active-system-events', '/latest/maintenance/active-system-events'],
  ['user-data-more', '/latest/meta-data/user-data-more'],
  ['/2016-01-01/user-data', '/2016-01-01/user-data'],
])('%s is %s', (short, whole) => {
  expect(wholePath(short)).toBe(whole)
})
