/** An application in CommonJS, as most with @alicloud/credentials are: `node alicloud.cjs SOCKET`. */
import Credential, { type CredentialsProvider } from '@alicloud/credentials'
import { alicloudProvider } from 'metabind/alicloud'
import { openClient } from 'metabind/client'

const [socket = ''] = process.argv.slice(2)
const provider: CredentialsProvider = alicloudProvider(openClient({ socket }))
const credential = new Credential(null, provider)

void credential.getCredential().then(({ accessKeyId, providerName, securityToken }) => {
  const tokenBytes = securityToken?.length
  process.stdout.write(JSON.stringify({ accessKeyId, providerName, tokenBytes }))
})
