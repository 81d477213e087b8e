import type { Dialect } from './dialect.ts'

/**
 * Amazon EC2, IMDSv2. Source: the EC2 user guide, "Configure the instance metadata service" and
 * "Retrieve instance metadata". A read without a token is answered 401 there.
 */
export const ec2: Dialect = {
  name: 'ec2',
  endpoint: 'http://169.254.169.254',
  versions: [
    'latest',
    '1.0',
    '2007-01-19',
    '2007-03-01',
    '2007-08-29',
    '2007-10-10',
    '2007-12-15',
    '2008-02-01',
    '2008-09-01',
    '2009-04-04',
    '2011-01-01',
    '2011-05-01',
    '2012-01-12',
    '2014-02-25',
    '2014-11-05',
    '2015-10-20',
    '2016-04-19',
    '2016-06-30',
    '2016-09-02',
    '2018-03-28',
    '2018-08-17',
    '2018-09-24',
    '2019-10-01',
    '2020-10-27',
    '2021-01-03',
    '2021-03-23',
    '2021-07-15',
    '2022-09-24',
    '2024-04-11',
  ],
  tokenPath: '/latest/api/token',
  tokenHeader: 'x-aws-ec2-metadata-token',
  ttlHeader: 'X-Aws-Ec2-Metadata-Token-Ttl-Seconds',
  instanceIdPath: '/latest/meta-data/instance-id',
  audiencePaths: [],
  secretPaths: [
    '/*/meta-data/iam/security-credentials/*/**',
    '/*/meta-data/identity-credentials/**',
    '/*/user-data/**',
    '/*/dynamic/instance-identity/**',
  ],
  credentialMembers: ['AccessKeyId', 'SecretAccessKey', 'Token'],
  status: { TOKEN_MISSING: 401 },
}
