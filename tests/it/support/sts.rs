//! STS, as far as it says whose credentials are.

use super::origin::{Origin, Then, answer};

/// One that says that everybody is `arn`, of the account in it.
pub fn sts(arn: &'static str) -> Origin {
    Origin::plain(move |_, reply| {
        let account = arn.split(':').nth(4).expect("an ARN has an account");
        let told = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>{arn}</Arn><UserId>AIDA</UserId><Account>{account}</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        reply.send(answer("200 OK", &[("content-type", "text/xml")], told))?;
        Ok(Then::Keep)
    })
}
