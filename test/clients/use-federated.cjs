// Credentials of a role elsewhere, by the unmodified SDK of a cloud, as its environment says. One line of JSON.
const [, , cloud, modules] = process.argv

const from = (name) => require(require.resolve(name, { paths: [modules, __dirname] }))

const CLOUDS = {
  aws: async () => {
    const { fromTokenFile } = from('@aws-sdk/credential-provider-web-identity')
    return fromTokenFile()()
  },
  aliyun: async () => {
    const { default: Credential, Config } = from('@alicloud/credentials')
    const config = new Config({ type: 'oidc_role_arn', stsEndpoint: process.env.STS_HOST })
    return new Credential(config).getCredential()
  },
  google: async () => {
    const { GoogleAuth } = from('google-auth-library')
    const auth = new GoogleAuth({ scopes: 'https://www.googleapis.com/auth/cloud-platform' })
    return { accessToken: await auth.getAccessToken() }
  },
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

CLOUDS[cloud]().then(
  (found) => say(found),
  (error) => say({ error: String(error.message) }),
)
